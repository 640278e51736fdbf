// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PanelCliques} from "./PanelCliques.sol";
import {PanelDraw} from "./PanelDraw.sol";
import {Dispute, Finding, Opening, Outcome, Phase, Round, Stage, Turn} from "./PanelTypes.sol";

/// @title How does a panel work?
/// @notice Seats accept, commit to a fingerprint of their own output while none can see another's, and reveal it after the
/// provider has opened its result. Then seats and provider publish whom they match. Absent seats lose their lock and are
/// replaced, three times. `protocols/disputes/sittings.py` is the same in Python.
abstract contract PanelSittings is PanelDraw {
    uint256 private constant MAX_REPLACEMENTS = 3;
    /// @dev The event of a published mask names the provider by this position.
    uint256 private constant PROVIDER_POSITION = 7;
    bytes32 private constant RESULT_TYPEHASH = keccak256(
        "ResultCommit(bytes32 dealId,bytes32 saltedRoot,uint8 outcome,int32 exitCode,uint64 fuel,uint64 wallMs,"
        "bytes32 logHead)"
    );

    /// @notice Its lock is taken, and its work awaited.
    event SeatAccepted(bytes32 indexed dealId, uint256 round, uint256 position);
    /// @notice A seat has bound itself to its own output, unseen.
    event SeatCommitted(bytes32 indexed dealId, uint256 round, uint256 position, bytes32 commitment);
    /// @notice The seat could not have the job's inputs.
    event InputUnavailable(bytes32 indexed dealId, uint256 round, uint256 position);
    /// @notice The provider has shown what it had signed: salt, root and outcome.
    event ResultOpened(bytes32 indexed dealId, bytes32 salt, bytes32 root, uint256 outcome);
    /// @notice `served` is false when the provider has not served all bytes: OUTPUT_UNAVAILABLE.
    event SeatRevealed(
        bytes32 indexed dealId, uint256 round, uint256 position, bytes32 fingerprint, bytes32 salt, bool served
    );
    /// @notice Position 7 is the provider.
    event Published(bytes32 indexed dealId, uint256 round, uint256 position, uint256 mask);
    /// @notice What the matches of a round amount to: `clique` and `firsts` are the seats that stand.
    event Found(bytes32 indexed dealId, uint256 round, Outcome outcome, uint256 clique, uint256 firsts);

    /// @notice The sender has no such place at this stage.
    error NotYourTurn(uint256 position);
    /// @notice Only the deal's provider may do this.
    error NotProvider(address caller);
    /// @notice It is not what was signed: this is its digest.
    error BadOpening(bytes32 digest);
    /// @notice It is not what was committed to: this is its commitment.
    error BadReveal(bytes32 commitment);
    /// @notice Its matches are published.
    error AlreadyMatched();

    // --- calls of seats and provider ---------------------------------------------------------------------------------

    /// @notice Take a place that the sender's seat was called to. From here its lock hangs on the verdict.
    function accept(bytes32 dealId, uint256 position) external {
        (Dispute storage d, Turn storage t) = _turn(dealId, position, Phase.DRAWN, Stage.CALLED);
        _lockSeat(d.seatClass, t.seat, d.lock.price);
        t.stage = Stage.ACCEPTED;
        emit SeatAccepted(dealId, d.round, position);
        _gathered(d);
    }

    /// @notice Bind the sender's seat to a fingerprint of its own output.
    /// @param commitment `keccak256(abi.encode(dealId, round, seat, fingerprint, salt))`.
    function commit(bytes32 dealId, uint256 position, bytes32 commitment) external {
        (Dispute storage d, Turn storage t) = _turn(dealId, position, Phase.COMMITTING, Stage.ACCEPTED);
        t.stage = Stage.COMMITTED;
        t.commitment = commitment;
        emit SeatCommitted(dealId, d.round, position, commitment);
        if (_count(_panel(d), Stage.ACCEPTED) == 0) _worked(d);
    }

    /// @notice Say that nobody has served the sender's seat what the job needs.
    function missInputs(bytes32 dealId, uint256 position) external {
        (Dispute storage d, Turn storage t) = _turn(dealId, position, Phase.COMMITTING, Stage.ACCEPTED);
        t.stage = Stage.NO_INPUT;
        emit InputUnavailable(dealId, d.round, position);
        if (_count(_panel(d), Stage.ACCEPTED) == 0) _worked(d);
    }

    /// @notice Open the result that the provider had committed to. From now on it serves the bytes to the seats.
    function open(bytes32 dealId, Opening calldata o) external {
        Dispute storage d = _inTime(dealId, Phase.OPENING);
        require(msg.sender == d.lock.provider, NotProvider(msg.sender));
        bytes32 salted = keccak256(abi.encode(o.salt, o.root));
        bytes32 result = keccak256(
            abi.encode(RESULT_TYPEHASH, dealId, salted, o.outcome, o.exitCode, o.fuel, o.wallMs, o.logHead)
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", _escrow().domainSeparator(), result));
        require(digest == d.resultHash, BadOpening(digest));
        // The escrow's type has 8 bits for it, or nobody could have signed this digest.
        d.outcomePlusOne = uint8(o.outcome) + 1;
        emit ResultOpened(dealId, o.salt, o.root, o.outcome);
        _enter(d, Phase.REVEALING, REVEAL);
    }

    /// @notice Show what the sender's seat had committed to, and say whether the provider has served it.
    function reveal(bytes32 dealId, uint256 position, bytes32 fingerprint, bytes32 salt, bool served) external {
        (Dispute storage d, Turn storage t) = _turn(dealId, position, Phase.REVEALING, Stage.COMMITTED);
        bytes32 made = keccak256(abi.encode(dealId, uint256(d.round), uint256(t.seat), fingerprint, salt));
        require(made == t.commitment, BadReveal(made));
        t.stage = Stage.REVEALED;
        t.served = served;
        Round storage r = _panel(d);
        r.salts ^= keccak256(abi.encode(position, salt));
        emit SeatRevealed(dealId, d.round, position, fingerprint, salt, served);
        if (_count(r, Stage.COMMITTED) == 0) _revealed(d);
    }

    /// @notice Publish whom the sender's seat matches.
    /// @param mask Bits 0..6: seats of its panel. 7: the provider. 8..10: seats of the first panel.
    function publish(bytes32 dealId, uint256 position, uint16 mask) external {
        (Dispute storage d, Turn storage t) = _turn(dealId, position, Phase.MATCHING, Stage.REVEALED);
        t.stage = Stage.MATCHED;
        t.mask = mask;
        emit Published(dealId, d.round, position, mask);
        _whenAllHavePublished(d);
    }

    /// @notice Publish which seats the provider matches.
    function publishProvider(bytes32 dealId, uint16 mask) external {
        Dispute storage d = _inTime(dealId, Phase.MATCHING);
        require(msg.sender == d.lock.provider, NotProvider(msg.sender));
        Round storage r = _panel(d);
        require(!r.providerMatched, AlreadyMatched());
        r.providerMatched = true;
        r.providerMask = mask;
        emit Published(dealId, d.round, PROVIDER_POSITION, mask);
        _whenAllHavePublished(d);
    }

    // --- what follows ------------------------------------------------------------------------------------------------

    /// @dev The first panel's finding can be appealed, the second's is final.
    function _conclude(Dispute storage d) internal virtual;

    /// @dev The provider has lost all of C, whatever any seat has found.
    function _forfeit(Dispute storage d) internal virtual;

    /// @dev Fill the empty places, and give those who are called their time.
    function _call(Dispute storage d) internal {
        _fill(d);
        _enter(d, Phase.DRAWN, ACCEPT);
        _gathered(d);
    }

    /// @dev Time has passed: go on without those who are late. A draw that one call could not finish goes on at any time.
    function _pokeSitting(Dispute storage d) internal {
        if (d.phase == Phase.DRAWN && _unfilled(d)) return _call(d);
        require(block.timestamp > d.until, TooEarly(uint256(d.until) + 1));
        if (d.phase == Phase.DRAWN) {
            _change(d, Stage.CALLED, Stage.VACANT, false);
            _replace(d);
        } else if (d.phase == Phase.COMMITTING) {
            _change(d, Stage.ACCEPTED, Stage.VACANT, true);
            _replace(d);
        } else if (d.phase == Phase.OPENING) {
            _forfeit(d);
        } else if (d.phase == Phase.REVEALING) {
            _change(d, Stage.COMMITTED, Stage.LOST, true);
            _revealed(d);
        } else {
            _judge(d);
        }
    }

    // --- inside ------------------------------------------------------------------------------------------------------

    function _turn(bytes32 dealId, uint256 position, Phase phase, Stage stage)
        private
        view
        returns (Dispute storage d, Turn storage t)
    {
        d = _inTime(dealId, phase);
        Round storage r = _panel(d);
        require(position < r.size, NotYourTurn(position));
        t = r.turns[position];
        require(t.stage == stage && _operatorOf(d.seatClass, t.seat) == msg.sender, NotYourTurn(position));
    }

    function _change(Dispute storage d, Stage before, Stage after_, bool lose) private {
        Round storage r = _panel(d);
        for (uint256 i; i < r.size; ++i) {
            Turn storage t = r.turns[i];
            if (t.stage != before) continue;
            t.stage = after_;
            if (lose) _loseLock(d.seatClass, t.seat, d.lock.price);
        }
    }

    /// @dev Call others in place of those who were absent, three times; then go on with those who are there.
    function _replace(Dispute storage d) private {
        Round storage r = _panel(d);
        if (r.waves == MAX_REPLACEMENTS || r.cursor == d.pool) return _assembled(d);
        ++r.waves;
        _call(d);
    }

    /// @dev Go on when nobody is waited for any more.
    function _gathered(Dispute storage d) private {
        if (_count(_panel(d), Stage.CALLED) == 0 && !_unfilled(d)) _assembled(d);
    }

    /// @dev Nobody else will be called.
    function _assembled(Dispute storage d) private {
        if (_count(_panel(d), Stage.ACCEPTED) == 0) return _worked(d);
        _enter(d, Phase.COMMITTING, WORK + 2 * uint256(d.execSeconds));
    }

    /// @dev No more commitments will come.
    function _worked(Dispute storage d) private {
        Round storage r = _panel(d);
        uint256 missing = _count(r, Stage.NO_INPUT);
        uint256 committed = _count(r, Stage.COMMITTED);
        if (missing >= PanelCliques.majority(missing + committed)) _found(d, Finding(Outcome.NO_INPUTS, 0, 0));
        else if (committed == 0) _found(d, Finding(Outcome.SPLIT, 0, 0));
        else _enter(d, Phase.OPENING, OPEN);
    }

    function _revealed(Dispute storage d) private {
        Round storage r = _panel(d);
        uint256 present;
        uint256 unserved;
        for (uint256 i; i < r.size; ++i) {
            if (r.turns[i].stage != Stage.REVEALED) continue;
            ++present;
            if (!r.turns[i].served) ++unserved;
        }
        uint256 most = PanelCliques.majority(present);
        if (unserved >= most) _found(d, Finding(Outcome.NO_OUTPUTS, 0, 0));
        else if (present < most) _found(d, Finding(Outcome.SPLIT, 0, 0));
        else _enter(d, Phase.MATCHING, MATCH);
    }

    function _whenAllHavePublished(Dispute storage d) private {
        Round storage r = _panel(d);
        if (r.providerMatched && _count(r, Stage.REVEALED) == 0) _judge(d);
    }

    function _judge(Dispute storage d) private {
        Round storage r = _panel(d);
        uint256[] memory masks = new uint256[](r.size);
        for (uint256 i; i < r.size; ++i) {
            if (r.turns[i].stage == Stage.MATCHED) masks[i] = r.turns[i].mask;
        }
        uint256 present = _count(r, Stage.REVEALED) + _count(r, Stage.MATCHED);
        _found(d, PanelCliques.judge(masks, present, r.providerMask, d.round == 0 ? 0 : _revealedFirsts(d.rounds[0])));
    }

    function _revealedFirsts(Round storage r) private view returns (uint256 bits) {
        for (uint256 i; i < r.size; ++i) {
            Stage stage = r.turns[i].stage;
            if (stage == Stage.REVEALED || stage == Stage.MATCHED) bits |= 1 << i;
        }
    }

    function _found(Dispute storage d, Finding memory finding) private {
        d.finding = finding;
        if (finding.clique != 0) _panel(d).hadMajority = true;
        emit Found(d.lock.dealId, d.round, finding.outcome, finding.clique, finding.firsts);
        _conclude(d);
    }
}
