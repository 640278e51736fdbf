// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Lock} from "./IMeshEscrow.sol";
import {PanelRows} from "./PanelRows.sol";
import {PanelSeats} from "./PanelSeats.sol";
import {Dispute, Phase, Round, Stage, Turn} from "./PanelTypes.sol";

/// @title Which seats sit in a dispute?
/// @notice A shuffle of the pool, step by step, from a seed that hangs on both parties' secrets. Places are looked at in
/// order and seats that may not be called are passed over: each eligible seat has the same chance, none is drawn twice.
abstract contract PanelDraw is PanelSeats {
    /// @dev Places looked at by one call. Anybody may call again.
    uint256 private constant MAX_VISITS = 64;

    mapping(bytes32 dealId => Dispute) internal _disputes;

    /// @notice A dispute has entered a phase; the awaited call succeeds until `until`, a poke from one second later.
    event PhaseChanged(bytes32 indexed dealId, Phase phase, uint256 until);
    /// @notice A seat was drawn for a place of a panel, and may accept it.
    event SeatCalled(
        bytes32 indexed dealId, address indexed operator, uint256 round, uint256 position, uint256 seat
    );

    /// @notice The call is not possible in this phase.
    error WrongPhase(Phase phase);
    /// @notice Possible until then.
    error TooLate(uint256 until);

    function _enter(Dispute storage d, Phase phase, uint256 wait) internal {
        uint256 until = block.timestamp + wait;
        d.phase = phase;
        d.until = uint40(until);
        emit PhaseChanged(d.lock.dealId, phase, until);
    }

    /// @dev The dispute, if it is in `phase` and its time is not over.
    function _inTime(bytes32 dealId, Phase phase) internal view returns (Dispute storage d) {
        d = _disputes[dealId];
        require(d.phase == phase, WrongPhase(d.phase));
        require(block.timestamp <= d.until, TooLate(d.until));
    }

    function _panel(Dispute storage d) internal view returns (Round storage) {
        return d.rounds[d.round];
    }

    function _begin(Dispute storage d, uint8 number, bytes32 seed) internal {
        d.round = number;
        Round storage r = d.rounds[number];
        r.seed = seed;
        r.size = uint8(number == 0 ? PanelRows.FIRST_SEATS : PanelRows.APPEAL_SEATS);
    }

    /// @dev Call seats to the empty places.
    function _fill(Dispute storage d) internal {
        Round storage r = _panel(d);
        uint256 pool = d.pool;
        uint256 cursor = r.cursor;
        Lock memory lock = d.lock;
        (uint256 empty, bool any) = _place(r, Stage.VACANT);
        for (uint256 visit; visit < MAX_VISITS && any && cursor < pool; ++visit) {
            uint256 seat = _seatAt(r, cursor++, pool);
            if (d.round == 1 && d.rounds[0].called[seat]) continue;
            if (!_eligible(lock, d.seatClass, seat, d.openedAt)) continue;
            r.called[seat] = true;
            r.turns[empty] =
                Turn({seat: uint64(seat), stage: Stage.CALLED, served: true, mask: 0, commitment: bytes32(0)});
            emit SeatCalled(lock.dealId, _operatorOf(d.seatClass, seat), d.round, empty, seat);
            (empty, any) = _place(r, Stage.VACANT);
        }
        r.cursor = uint64(cursor);
    }

    /// @dev Is there an empty place, and somebody left to look at?
    function _unfilled(Dispute storage d) internal view returns (bool) {
        Round storage r = _panel(d);
        if (r.cursor >= d.pool) return false;
        (, bool any) = _place(r, Stage.VACANT);
        return any;
    }

    function _count(Round storage r, Stage stage) internal view returns (uint256 n) {
        for (uint256 i; i < r.size; ++i) {
            if (r.turns[i].stage == stage) ++n;
        }
    }

    /// @dev The first place at `stage`.
    function _place(Round storage r, Stage stage) private view returns (uint256 i, bool any) {
        for (; i < r.size; ++i) {
            if (r.turns[i].stage == stage) return (i, true);
        }
    }

    /// @dev One step of Fisher and Yates, storing only what is not in its own place.
    function _seatAt(Round storage r, uint256 place, uint256 pool) private returns (uint256 seat) {
        uint256 other = place + uint256(keccak256(abi.encode(r.seed, place))) % (pool - place);
        uint256 here = r.swaps[place];
        uint256 there = r.swaps[other];
        seat = there == 0 ? other : there - 1;
        r.swaps[other] = here == 0 ? place + 1 : here;
    }
}
