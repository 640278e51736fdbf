// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What may the escrow ask of the panel?
/// @notice One thing: to count money that its owner has sent from the escrow. Everything else goes from the panel to the
/// escrow (`IMeshEscrow`).
///
/// What the escrow has checked of a Deal with `enforcement: panel`, so that the panel need not: level EXACT, CANONICAL,
/// NUMERIC or PERCEPTUAL; collateral 8 to 100 prices; `seatFee` 1.2 to 3 prices; `windowSeconds` at least the escrow's
/// `windowBase + windowExecFactor * execSeconds` (public networks: 30 h + 2 `execSeconds`); `seatClass` and `seatSnapshot`
/// at least 1, so class 0 does not exist and a snapshot counts seats; both secret hashes nonzero; `execSeconds`, `price`
/// and all other numbers within the escrow's `bounds()`. It has not checked, because that takes the panel's storage, that
/// the class has enough seats below the snapshot.
interface IMediatorPanel {
    /// @notice The only escrow of this panel.
    function ESCROW() external view returns (address);

    /// @notice `amount` tokens of `owner` have arrived: credit its account here. Only the escrow may call, and it calls
    /// after the transfer. Reverting refuses the money, and the caller keeps it.
    function onFunded(address owner, uint256 amount) external;
}
