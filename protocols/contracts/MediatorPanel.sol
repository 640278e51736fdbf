// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Deal} from "./DealTerms.sol";
import {IMeshEscrow, Lock, Payout, SignedResult, State} from "./IMeshEscrow.sol";
import {PanelRows, Shares, Stakes} from "./PanelRows.sol";
import {PanelScores} from "./PanelScores.sol";
import {PanelSeats} from "./PanelSeats.sol";
import {PanelSittings} from "./PanelSittings.sol";
import {Dispute, Finding, Outcome, PanelBounds, Phase, Reason, Round, Row, Side, Stage, Turn} from "./PanelTypes.sol";

/// @title Who is right, when a client says that a result is wrong?
/// @notice The client shows its secret and somebody puts up a bond. The provider shows its secret, or loses all of its
/// collateral. Three seats are drawn, execute the job again without seeing any result, and are compared with each other
/// and with the provider. Who loses may appeal to seven others. Every phase is left by a call that anybody may make once
/// its time has come (`poke`). Nobody owns this contract; its bounds were fixed when it was deployed.
/// @dev `protocols/disputes` is the same machine in Python, and a test compares the two after every call.
contract MediatorPanel is PanelSittings {
    uint256 private constant ENFORCEMENT_PANEL = 1;
    uint256 private constant LEVEL_NUMERIC = 3;
    uint256 private constant LEVEL_PERCEPTUAL = 4;
    uint256 private constant OUTCOME_OOM = 4;
    uint256 private constant OUTCOME_TIMEOUT = 5;
    uint256 private constant OUTCOME_DISK_LIMIT = 7;
    bytes32 private constant DELIVERY_TYPEHASH = keccak256("DeliveryReceipt(bytes32 dealId,bytes32 resultHash)");

    /// @notice The providers' records at levels where honest results may differ.
    PanelScores public immutable SCORES;

    /// @notice A dispute about `resultHash`: `fee` is one seat's, `pool` the seats it is drawn from.
    event DisputeOpened(
        bytes32 indexed dealId,
        address indexed client,
        address indexed provider,
        bytes32 resultHash,
        Reason reason,
        address funder,
        uint256 fee,
        uint256 pool
    );
    /// @notice The provider has shown its secret; `seed` draws the first panel.
    event SecretRevealed(bytes32 indexed dealId, bytes32 secret, bytes32 seed);
    /// @notice The client has signed for the bytes: it cannot say that they were withheld.
    event DeliveryShown(bytes32 indexed dealId);
    /// @notice `account` has put up `amount` for a side: it appeals, or answers the other's appeal.
    event AppealDeposited(bytes32 indexed dealId, Side side, address account, uint256 amount);
    /// @notice The end, and the row of payouts that it went by.
    event DisputeEnded(bytes32 indexed dealId, Row row, Phase end);

    /// @notice The terms are not those of this Lock.
    error WrongDeal(bytes32 dealId);
    /// @notice Its terms name no panel.
    error NoPanelDeal();
    /// @notice It has not the hash that was signed.
    error WrongSecret();
    /// @notice Nothing is claimed: the result must be shown with the provider's signature (`disputeUnclaimed`).
    error UnsignedResult();
    /// @notice This side may deposit nothing now.
    error WrongSide(Side side);
    /// @notice The signature is not that of `wanted`, but of `recovered`, zero where it is of nobody.
    error BadSignature(address wanted, address recovered);

    /// @param escrow The only escrow of this panel; it may be deployed after it.
    /// @param token The escrow's token.
    /// @param tokenBurns Whether it has `burn(uint256)`.
    /// @param limits What this panel waits for, for good.
    constructor(address escrow, IERC20 token, bool tokenBurns, PanelBounds memory limits)
        PanelSeats(escrow, token, tokenBurns, limits)
    {
        SCORES = new PanelScores(IMeshEscrow(escrow));
    }

    // --- opening -----------------------------------------------------------------------------------------------------

    /// @notice Dispute a claimed result within its window. The bond comes from the account of the caller's owner; anybody
    /// may fund a dispute for a client that hands over its secret.
    /// @param deal All signed terms.
    /// @param lock The deal as committed.
    /// @param resultHash What the provider has claimed.
    /// @param clientSecret What `deal.clientSecretHash` is the hash of.
    /// @param reason What the client says.
    function dispute(
        Deal calldata deal,
        Lock calldata lock,
        bytes32 resultHash,
        bytes32 clientSecret,
        Reason reason
    ) external {
        State was = _open(deal, lock, resultHash, clientSecret, reason);
        require(was == State.CLAIMED, UnsignedResult());
    }

    /// @notice Dispute a result that the provider has signed and not claimed.
    function disputeUnclaimed(
        Deal calldata deal,
        Lock calldata lock,
        SignedResult calldata result,
        bytes32 clientSecret,
        Reason reason
    ) external {
        bytes32 resultHash = _escrow().resultHashOf(lock.dealId, lock.provider, result);
        _open(deal, lock, resultHash, clientSecret, reason);
    }

    /// @notice Show the provider's secret. Anybody who knows it may; until then the provider is silent, which costs C.
    function showSecret(bytes32 dealId, bytes32 secret) external {
        Dispute storage d = _inTime(dealId, Phase.DISPUTED);
        require(keccak256(abi.encode(secret)) == d.providerSecretHash, WrongSecret());
        bytes32 seed = keccak256(abi.encode(d.clientSecret, secret, dealId));
        emit SecretRevealed(dealId, secret, seed);
        _begin(d, 0, seed);
        _call(d);
    }

    /// @notice Show that the client has signed for all bytes of the disputed result. Anyone may.
    /// @param r First half of the client's signature of `DeliveryReceipt(dealId, resultHash)`.
    /// @param vs Second half in compact form (EIP-2098).
    function showDelivery(bytes32 dealId, bytes32 r, bytes32 vs) external {
        Dispute storage d = _live(dealId);
        bytes32 structHash = keccak256(abi.encode(DELIVERY_TYPEHASH, dealId, d.resultHash));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", _escrow().domainSeparator(), structHash));
        (address recovered,,) = ECDSA.tryRecover(digest, r, vs);
        address client = address(bytes20(d.lock.run));
        require(recovered == client && client != address(0), BadSignature(client, recovered));
        d.delivered = true;
        emit DeliveryShown(dealId);
    }

    /// @notice Show another result that the provider has signed for a disputed deal: all of C. Anyone may.
    function proveEquivocation(bytes32 dealId, SignedResult calldata other) external {
        Dispute storage d = _live(dealId);
        _escrow().checkEquivocation(dealId, d.lock.provider, d.resultHash, other, other);
        _forfeit(d);
    }

    // --- appeals and time --------------------------------------------------------------------------------------------

    /// @notice Put up seven fees for one side: first the side that has lost (after a split either), then the other.
    function deposit(bytes32 dealId, Side side) external {
        Dispute storage d = _live(dealId);
        require(d.phase == Phase.VERDICT || d.phase == Phase.APPEALED, WrongPhase(d.phase));
        require(block.timestamp <= d.until, TooLate(d.until));
        address account = _escrow().ownerOf(msg.sender);
        if (d.phase == Phase.VERDICT) {
            require(side != Side.NEITHER && side != _winnerOf(d.finding.outcome), WrongSide(side));
        } else {
            require(side != Side.NEITHER && d.depositors[uint256(side)] == address(0), WrongSide(side));
        }
        uint256 amount = PanelRows.APPEAL_SEATS * d.fee;
        _take(account, amount);
        d.depositors[uint256(side)] = account;
        emit AppealDeposited(dealId, side, account, amount);
        if (d.phase == Phase.VERDICT) return _enter(d, Phase.APPEALED, APPEAL);
        _begin(d, 1, keccak256(abi.encode(d.rounds[0].seed, d.rounds[0].salts)));
        _call(d);
    }

    /// @notice Do whatever time has made possible. Anyone may call.
    function poke(bytes32 dealId) external {
        Dispute storage d = _live(dealId);
        if (d.phase >= Phase.DRAWN && d.phase <= Phase.MATCHING) return _pokeSitting(d);
        require(block.timestamp > d.until, TooEarly(uint256(d.until) + 1));
        if (d.phase == Phase.DISPUTED) return _forfeit(d);
        Side winner = _winnerOf(d.finding.outcome);
        // One side has let the appeal go by: the depositor wins.
        if (d.phase == Phase.APPEALED) winner = d.depositors[0] != address(0) ? Side.CLIENT : Side.PROVIDER;
        _end(d, winner);
    }

    // --- views -------------------------------------------------------------------------------------------------------

    /// @notice Where a dispute stands.
    function statusOf(bytes32 dealId)
        external
        view
        returns (Phase phase, uint256 until, uint256 round, uint256 fee, Finding memory finding, Row row)
    {
        Dispute storage d = _disputes[dealId];
        return (d.phase, d.until, d.round, d.fee, d.finding, d.row);
    }

    /// @notice One panel of a dispute: 0, or 1 on appeal.
    function panelOf(bytes32 dealId, uint256 round)
        external
        view
        returns (bytes32 seed, bytes32 salts, uint256 cursor, uint256 size, uint256 waves)
    {
        Round storage r = _disputes[dealId].rounds[round];
        return (r.seed, r.salts, r.cursor, r.size, r.waves);
    }

    /// @notice One place of a panel.
    function turnOf(bytes32 dealId, uint256 round, uint256 position) external view returns (Turn memory) {
        return _disputes[dealId].rounds[round].turns[position];
    }

    // --- inside ------------------------------------------------------------------------------------------------------

    function _open(Deal calldata deal, Lock calldata lock, bytes32 resultHash, bytes32 secret, Reason reason)
        private
        returns (State was)
    {
        bytes32 dealId = lock.dealId;
        Dispute storage d = _disputes[dealId];
        require(d.phase == Phase.NONE, WrongPhase(d.phase));
        require(_escrow().dealIdOf(deal) == dealId, WrongDeal(dealId));
        require(deal.enforcement == ENFORCEMENT_PANEL, NoPanelDeal());
        require(keccak256(abi.encode(secret)) == deal.clientSecretHash, WrongSecret());
        Lock memory copy = lock;
        was = _escrow().openDispute(copy, resultHash);
        uint256 fee = PanelRows.feeOf(deal.seatFee, copy.price, copy.collateral);
        address funder = _escrow().ownerOf(msg.sender);
        _take(funder, PanelRows.bondOf(fee, copy.price));
        d.lock = copy;
        d.resultHash = resultHash;
        d.reason = reason;
        d.clientSecret = secret;
        d.providerSecretHash = deal.providerSecretHash;
        d.level = uint8(deal.level);
        d.execSeconds = uint32(deal.execSeconds);
        d.seatClass = uint32(deal.seatClass);
        d.openedAt = uint40(block.timestamp);
        d.fee = uint128(fee);
        d.funder = funder;
        uint256 pool = _pool(deal.seatClass, deal.seatSnapshot);
        d.pool = uint64(pool);
        emit DisputeOpened(dealId, deal.client, copy.provider, resultHash, reason, funder, fee, pool);
        _enter(d, Phase.DISPUTED, SECRET);
    }

    function _live(bytes32 dealId) private view returns (Dispute storage d) {
        d = _disputes[dealId];
        require(d.phase != Phase.NONE && d.phase < Phase.SETTLED, WrongPhase(d.phase));
    }

    function _conclude(Dispute storage d) internal override {
        if (d.round == 0) _enter(d, Phase.VERDICT, APPEAL);
        else _end(d, _winnerOf(d.finding.outcome));
    }

    /// @dev Silence counts as bytes that were never served.
    function _forfeit(Dispute storage d) internal override {
        d.finding = Finding(Outcome.NO_OUTPUTS, 0, 0);
        _end(d, _winnerOf(d.finding.outcome));
    }

    function _winnerOf(Outcome outcome) private pure returns (Side) {
        if (outcome == Outcome.SPLIT) return Side.NEITHER;
        return outcome == Outcome.GUILTY || outcome == Outcome.NO_OUTPUTS ? Side.CLIENT : Side.PROVIDER;
    }

    /// @dev The row of a dispute that `winner` wins: by the last panel's finding, or because the other side let an appeal
    /// go by.
    function _rowOf(Dispute storage d, Side winner) private returns (Row) {
        Outcome outcome = d.finding.outcome;
        if (winner == Side.NEITHER) return Row.VOID;
        if (winner == Side.PROVIDER) {
            if (outcome == Outcome.NO_INPUTS) return Row.UNSERVED;
            return d.reason == Reason.WITHHELD && !d.delivered ? Row.UNPROVEN : Row.ACQUITTED;
        }
        if (outcome == Outcome.NO_OUTPUTS) return Row.FORFEIT;
        if (_neverGrounds(d.outcomePlusOne)) return Row.BLAMELESS;
        return _tolerant(d.level) && !SCORES.failed(d.lock.providerOwner, d.level) ? Row.LOST : Row.CONVICTED;
    }

    function _tolerant(uint256 level) private pure returns (bool) {
        return level == LEVEL_NUMERIC || level == LEVEL_PERCEPTUAL;
    }

    function _neverGrounds(uint256 outcomePlusOne) private pure returns (bool) {
        return outcomePlusOne == OUTCOME_OOM + 1 || outcomePlusOne == OUTCOME_TIMEOUT + 1
            || outcomePlusOne == OUTCOME_DISK_LIMIT + 1;
    }

    /// @dev Divide everything, for good. When the escrow has ended the deal without the panel (after a year), all returns.
    function _end(Dispute storage d, Side winner) private {
        bool voided = _voided(d.lock.run);
        if (voided) {
            winner = Side.NEITHER;
            d.finding = Finding(Outcome.SPLIT, 0, 0);
        }
        Row row = _rowOf(d, winner);
        Finding memory finding = d.finding;
        Phase end = _endOf(row);
        d.row = row;
        d.phase = end;
        d.until = uint40(block.timestamp);
        Stakes memory stakes = Stakes({
            price: d.lock.price,
            collateral: d.lock.collateral,
            fee: d.fee,
            paid: _bits(d.round == 0 ? finding.clique : finding.firsts),
            hadMajority: voided || d.rounds[0].hadMajority || d.rounds[1].hadMajority
        });
        (Payout memory payout, Shares memory shares) = PanelRows.amounts(row, stakes);
        _credit(d.funder, shares.funder);
        _credit(d.lock.providerOwner, shares.provider);
        _burnLater(shares.burned);
        _returnDeposits(d, finding.clique, winner);
        for (uint256 number; number <= d.round; ++number) {
            _release(d, d.rounds[number], number == d.round ? finding.clique : finding.firsts, finding.clique != 0);
        }
        emit DisputeEnded(d.lock.dealId, row, end);
        if (!voided) {
            Lock memory lock = d.lock;
            _escrow().closeDispute(lock, d.resultHash, _stateOf(end), payout);
        }
    }

    /// @dev The winner's deposit returns, the loser's pays the second panel. Without a majority there, both return.
    function _returnDeposits(Dispute storage d, uint256 clique, Side winner) private {
        uint256 amount = PanelRows.APPEAL_SEATS * d.fee;
        for (uint256 side; side < 2; ++side) {
            address depositor = d.depositors[side];
            if (depositor == address(0)) continue;
            if (d.round == 1 && clique != 0 && side != uint256(winner)) _burnLater(amount - _bits(clique) * d.fee);
            else _credit(depositor, amount);
        }
    }

    /// @dev Seats that stand with the majority are paid, others lose their lock. Without a majority all locks return.
    function _release(Dispute storage d, Round storage r, uint256 standing, bool majority) private {
        for (uint256 i; i < r.size; ++i) {
            Turn storage t = r.turns[i];
            if (t.stage < Stage.ACCEPTED || t.stage > Stage.MATCHED) continue;
            if (majority && (standing >> i) & 1 == 0) {
                _loseLock(d.seatClass, t.seat, d.lock.price);
                continue;
            }
            _unlockSeat(d.seatClass, t.seat, d.lock.price);
            if (majority) _paySeat(d.seatClass, t.seat, d.fee);
        }
    }

    function _voided(bytes32 run) private view returns (bool) {
        (State state,,) = _escrow().slotOf(address(bytes20(run)), uint64(uint256(run) >> 32), uint32(uint256(run)));
        return state != State.DISPUTED;
    }

    function _endOf(Row row) private pure returns (Phase) {
        if (row <= Row.LOST) return Phase.SLASHED;
        return row == Row.BLAMELESS || row == Row.VOID ? Phase.VOID : Phase.SETTLED;
    }

    function _stateOf(Phase end) private pure returns (State) {
        if (end == Phase.SETTLED) return State.SETTLED;
        return end == Phase.SLASHED ? State.SLASHED : State.VOID;
    }

    function _bits(uint256 set) private pure returns (uint256 n) {
        for (; set != 0; set &= set - 1) ++n;
    }
}
