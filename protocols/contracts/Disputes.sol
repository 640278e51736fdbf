// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {DealSlots} from "./DealSlots.sol";
import {Lock, Payout, SignedResult, State} from "./IMeshEscrow.sol";

/// @title What happens to a deal's money when somebody says that its result is wrong?
/// @notice The panel, a contract named at deployment, takes a deal into DISPUTED and divides its price and collateral; it
/// can do neither to any other money. Fraud that needs no panel, two results signed by one provider, anybody proves here.
abstract contract Disputes is DealSlots {
    using SafeERC20 for IERC20;

    bytes32 private constant RESULT_TYPEHASH = keccak256(
        "ResultCommit(bytes32 dealId,bytes32 saltedRoot,uint8 outcome,int32 exitCode,uint64 fuel,uint64 wallMs,"
        "bytes32 logHead)"
    );
    /// @dev One percent of each payment is burned.
    uint256 internal constant FEE_DIVISOR = 100;
    /// @dev Longer than the longest dispute of the longest job with every replacement and the appeal.
    uint256 private constant DISPUTE_LIMIT = 365 days;

    /// @notice The panel has taken the deal, which `was` COMMITTED or CLAIMED, with this result.
    event DealDisputed(bytes32 indexed dealId, bytes32 resultHash, State was);
    /// @notice `paid` is the provider's part before the fee; `burned` has the fee in it.
    event DisputeClosed(
        bytes32 indexed dealId,
        State end,
        uint256 toClient,
        uint256 paid,
        uint256 toStake,
        uint256 toPanel,
        uint256 burned
    );
    /// @notice The provider has signed two results. The client has its price back and the bounty.
    event DealSlashed(bytes32 indexed dealId, uint256 bounty, uint256 burned);

    /// @notice Only this escrow's panel may do this.
    error NotPanel(address caller, address panel);
    /// @notice What the panel divides is not what the deal holds.
    error Unbalanced(uint256 divided, uint256 held);
    /// @notice Possible from `notBefore` on.
    error TooEarly(uint256 notBefore);
    /// @notice Possible until `deadline`.
    error TooLate(uint256 deadline);
    /// @notice One result, or none, is no contradiction.
    error NoEquivocation(bytes32 resultHash);

    /// @notice For calls of the panel alone.
    modifier onlyPanel() {
        require(msg.sender == PANEL, NotPanel(msg.sender, PANEL));
        _;
    }

    /// @notice Only the panel: the deal becomes DISPUTED. See `IMeshEscrow`.
    function openDispute(Lock calldata lock, bytes32 resultHash) external onlyPanel returns (State was) {
        require(resultHash != 0, ZeroResult());
        (uint256 slot, bool claimed) = _openEither(lock, resultHash);
        was = _stateOf(slot);
        if (claimed) {
            require(was == State.CLAIMED, WrongState(was));
            uint256 ends = _sinceOf(slot) + lock.windowSeconds;
            require(block.timestamp <= ends, TooLate(ends));
            _move(lock, slot, State.DISPUTED);
        } else {
            require(was == State.COMMITTED, WrongState(was));
            _bind(lock, resultHash, State.DISPUTED);
        }
        emit DealDisputed(lock.dealId, resultHash, was);
    }

    /// @notice Only the panel: divide a disputed deal's money, for good. See `IMeshEscrow`.
    function closeDispute(Lock calldata lock, bytes32 resultHash, State end, Payout calldata payout)
        external
        onlyPanel
        nonReentrant
    {
        require(end == State.SETTLED || end == State.SLASHED || end == State.VOID, WrongState(end));
        uint256 slot = _open(lock, resultHash);
        require(_stateOf(slot) == State.DISPUTED, WrongState(_stateOf(slot)));
        uint256 divided = payout.toClient + payout.toProvider + payout.toStake + payout.toPanel + payout.burned;
        require(divided == lock.price + lock.collateral, Unbalanced(divided, lock.price + lock.collateral));
        _move(lock, slot, end);
        _divide(lock, end, payout);
    }

    /// @notice The provider has bound itself to two results: all of its collateral is lost, the client has its price back
    /// and a bounty of two prices (at most half the collateral), and the rest is burned. Anyone may call. See `IMeshEscrow`.
    /// @param resultHash What `claim` has recorded; zero when nothing was claimed.
    function proveEquivocation(
        Lock calldata lock,
        bytes32 resultHash,
        SignedResult calldata first,
        SignedResult calldata second
    ) external {
        uint256 slot = _open(lock, resultHash);
        State state = _stateOf(slot);
        require(state == State.COMMITTED || state == State.CLAIMED, WrongState(state));
        _checkEquivocation(lock.dealId, lock.provider, resultHash, first, second);
        _move(lock, slot, State.SLASHED);
        // Never more than half, so that no provider and client who are one person get a slash back.
        uint256 half = lock.collateral / 2;
        uint256 bounty = BOUNTY_FACTOR * lock.price < half ? BOUNTY_FACTOR * lock.price : half;
        _credit(lock.clientOwner, lock.price + bounty, 0);
        _burnLater(lock.collateral - bounty);
        emit DealSlashed(lock.dealId, bounty, lock.collateral - bounty);
    }

    /// @notice Did the provider bind itself to two results? Reverts when not. See `IMeshEscrow`.
    function checkEquivocation(
        bytes32 dealId,
        address provider,
        bytes32 resultHash,
        SignedResult calldata first,
        SignedResult calldata second
    ) external view {
        _checkEquivocation(dealId, provider, resultHash, first, second);
    }

    /// @notice The resultHash of a result that `provider` signed for `dealId`. See `IMeshEscrow`.
    function resultHashOf(bytes32 dealId, address provider, SignedResult calldata result)
        external
        view
        returns (bytes32 resultHash)
    {
        return _resultHash(dealId, provider, result);
    }

    // --- inside ------------------------------------------------------------------------------------------------------

    /// @dev Nobody has closed the dispute in a year: both have their own back. Reached only through a defect of the panel.
    function _void(Lock calldata lock, uint256 slot) internal {
        uint256 ends = _sinceOf(slot) + DISPUTE_LIMIT;
        require(block.timestamp > ends, TooEarly(ends + 1));
        _move(lock, slot, State.VOID);
        _credit(lock.clientOwner, lock.price, 0);
        _credit(lock.providerOwner, 0, lock.collateral);
        emit DisputeClosed(lock.dealId, State.VOID, lock.price, 0, lock.collateral, 0, 0);
    }

    function _divide(Lock calldata lock, State end, Payout calldata payout) private {
        uint256 fee = payout.toProvider / FEE_DIVISOR;
        _credit(lock.clientOwner, payout.toClient, 0);
        _credit(lock.providerOwner, payout.toProvider - fee, payout.toStake);
        _burnLater(payout.burned + fee);
        emit DisputeClosed(
            lock.dealId,
            end,
            payout.toClient,
            payout.toProvider,
            payout.toStake,
            payout.toPanel,
            payout.burned + fee
        );
        if (payout.toPanel != 0) TOKEN.safeTransfer(PANEL, payout.toPanel);
    }

    function _checkEquivocation(
        bytes32 dealId,
        address provider,
        bytes32 resultHash,
        SignedResult calldata first,
        SignedResult calldata second
    ) private view {
        bytes32 one = _resultHash(dealId, provider, first);
        bytes32 other = resultHash == 0 ? _resultHash(dealId, provider, second) : resultHash;
        require(one != other, NoEquivocation(one));
    }

    function _resultHash(bytes32 dealId, address provider, SignedResult calldata result)
        private
        view
        returns (bytes32 resultHash)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                RESULT_TYPEHASH,
                dealId,
                result.saltedRoot,
                result.outcome,
                result.exitCode,
                result.fuel,
                result.wallMs,
                result.logHead
            )
        );
        resultHash = _hashTypedDataV4(structHash);
        _requireSigned(provider, resultHash, result.r, result.vs);
    }
}
