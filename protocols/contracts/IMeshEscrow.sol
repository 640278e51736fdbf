// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Deal} from "./DealTerms.sol";

/// @notice Where a deal stands. The numbers are part of the protocol (`OnChainState` in Python).
enum State {
    NONE,
    COMMITTED,
    CLAIMED,
    DISPUTED,
    SETTLED,
    CANCELLED,
    EXPIRED,
    SLASHED,
    VOID,
    BURNED
}

/// @notice What an escrow must know of a committed deal to end it. `commit` fixes it and emits every field; each later
/// call brings it along, and the deal's slot holds its hash. Owners are those of the moment of the commit.
/// Numbers have full width: the hash admits no other values than those that `commit` has checked.
struct Lock {
    bytes32 dealId;
    address provider;
    /// What the deal has consumed: client (20 bytes), runNonce (8), index (4). Also the key of its slot.
    bytes32 run;
    address clientOwner;
    address providerOwner;
    uint256 price;
    uint256 collateral;
    /// Seconds from the commit to the claim deadline: `execSeconds + claimSeconds`.
    uint256 claimWithin;
    uint256 windowSeconds;
}

/// @notice A `ResultCommit` without its dealId, which the caller has from elsewhere, and the provider's signature of it in
/// compact form (EIP-2098). Numbers have full width; the signed types are uint8, int32, uint64 and uint64.
struct SignedResult {
    bytes32 saltedRoot;
    uint256 outcome;
    int256 exitCode;
    uint256 fuel;
    uint256 wallMs;
    bytes32 logHead;
    bytes32 r;
    bytes32 vs;
}

/// @notice Where the price and the collateral of a disputed deal go. The five must add up to both.
struct Payout {
    /// To the free balance of the client's owner.
    uint256 toClient;
    /// To the free balance of the provider's owner, less the fee of one percent, which is burned.
    uint256 toProvider;
    /// Back to the stake of the provider's owner. No fee.
    uint256 toStake;
    /// Tokens sent to the panel, for the seats. The panel counts them itself; nothing is called.
    uint256 toPanel;
    uint256 burned;
}

/// @title What may the panel ask of the escrow?
/// @notice The panel decides who was right, the escrow moves the deal's money. The panel has power over the price and the
/// collateral of a deal that it has moved to DISPUTED and over nothing else: no free balance, no stake, no channel.
///
/// Money for bonds and seats goes the other way, by its owner's own call: `fundPanel` takes it from the caller's free
/// balance, sends the tokens and calls `IMediatorPanel.onFunded`. The panel returns money with `depositFor(owner, amount)`,
/// for which it approves the escrow once; so everything leaves through the escrow's exit delay.
///
/// Both addresses are immutable and each constructor takes the other's. The second of two consecutive creations has an
/// address that can be computed (`create_address` in Python), so nobody sets anything afterwards.
interface IMeshEscrow {
    /// @notice The only token of this escrow, and of its panel.
    function TOKEN() external view returns (IERC20);

    /// @notice The contract that may open and close disputes; zero: this escrow accepts no panel deals.
    function PANEL() external view returns (address);

    /// @notice Whose money `operator` trades with: its owner's, or its own.
    function ownerOf(address operator) external view returns (address);

    /// @notice EIP-712 domain separator of everything signed for this escrow. What parties and seats sign for the panel
    /// is signed in this domain too, under struct types of its own.
    function domainSeparator() external view returns (bytes32);

    /// @notice EIP-712 digest of a deal on this escrow: its DealId. How the panel learns a deal's seat terms: the disputer
    /// passes the Deal, and this must be `lock.dealId`.
    function dealIdOf(Deal calldata deal) external view returns (bytes32);

    /// @notice State of the deal that has consumed (client, runNonce, index), since when (block time of the last change),
    /// and its identity: the upper 208 bits of `keccak256(abi.encode(lock))`, or of
    /// `keccak256(abi.encode(keccak256(abi.encode(lock)), resultHash))` once there is a result.
    function slotOf(address client, uint64 runNonce, uint32 index)
        external
        view
        returns (State state, uint40 since, bytes26 identity);

    /// @notice EIP-712 digest of the ResultCommit that `provider` signed for `dealId`: its resultHash. Reverts with
    /// `BadSignature` when the signature is another's.
    function resultHashOf(bytes32 dealId, address provider, SignedResult calldata result)
        external
        view
        returns (bytes32 resultHash);

    /// @notice Did the provider bind itself to two results? `resultHash` is what the slot holds, zero when nothing is
    /// claimed or disputed. With one, `first` must be signed and differ from it, and `second` is not looked at; without,
    /// both must be signed and differ. Reverts with `NoEquivocation` or `BadSignature` otherwise. The escrow's
    /// `proveEquivocation` ends COMMITTED and CLAIMED deals by it; a DISPUTED one is the panel's to end, by a call of its
    /// own that makes this check and then closes the dispute, because bonds and seats hang on it.
    function checkEquivocation(
        bytes32 dealId,
        address provider,
        bytes32 resultHash,
        SignedResult calldata first,
        SignedResult calldata second
    ) external view;

    /// @notice Take `amount` from the free balance of the caller's owner to the panel, and tell it by `onFunded`.
    function fundPanel(uint128 amount) external;

    /// @notice Add to the free balance of `owner`, paid by the caller in tokens. How the panel pays out.
    function depositFor(address owner, uint256 amount) external;

    /// @notice Only the panel: a deal becomes DISPUTED. From CLAIMED by the end of its window, `resultHash` being the
    /// claimed one; from COMMITTED, however late while nobody has expired it, with the digest of a ResultCommit that the
    /// provider has signed, which the panel has checked (`resultHashOf`); the result is then part of the deal's identity.
    /// Reverts with `UnknownDeal`, `WrongState`, `TooLate` or `ZeroResult`.
    /// @dev Whether the deal is a panel deal, and who may dispute it, the panel must know from the Deal.
    /// @return was COMMITTED or CLAIMED.
    function openDispute(Lock calldata lock, bytes32 resultHash) external returns (State was);

    /// @notice Only the panel: divide a disputed deal's price and collateral, for good.
    /// @param resultHash What `openDispute` was given.
    /// @param end SETTLED, SLASHED or VOID.
    /// @dev Reverts with `WrongState` also when the deal has been `poke`d out of DISPUTED: 365 days after `openDispute`
    /// anybody may void a dispute that nobody has closed, so that no defect of a panel locks money for ever.
    function closeDispute(Lock calldata lock, bytes32 resultHash, State end, Payout calldata payout) external;
}
