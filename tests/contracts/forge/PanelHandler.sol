// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bounds, Deal} from "../../../protocols/contracts/DealTerms.sol";
import {Lock, State} from "../../../protocols/contracts/IMeshEscrow.sol";
import {MeshEscrow} from "../../../protocols/contracts/MeshEscrow.sol";
import {MeshToken} from "../../../protocols/contracts/MeshToken.sol";
import {
    Finding,
    Opening,
    PanelBounds,
    Phase,
    Reason,
    Row,
    Seat,
    Side,
    Stage,
    Turn
} from "../../../protocols/contracts/PanelTypes.sol";
import {Base} from "./Vm.sol";

/// @notice What the tests call of the panel. The contract itself does not compile in the quick pipeline.
interface IPanel {
    function join(uint32 seatClass) external returns (uint256);
    function resign(uint32 seatClass, uint256 seat) external;
    function retire(uint32 seatClass, uint256 seat) external;
    function withdraw(uint256 amount) external;
    function burn() external;
    function dispute(Deal calldata deal, Lock calldata lock, bytes32 resultHash, bytes32 secret, Reason reason) external;
    function showSecret(bytes32 dealId, bytes32 secret) external;
    function accept(bytes32 dealId, uint256 position) external;
    function commit(bytes32 dealId, uint256 position, bytes32 commitment) external;
    function missInputs(bytes32 dealId, uint256 position) external;
    function open(bytes32 dealId, Opening calldata opening) external;
    function reveal(bytes32 dealId, uint256 position, bytes32 fingerprint, bytes32 salt, bool served) external;
    function publish(bytes32 dealId, uint256 position, uint16 mask) external;
    function publishProvider(bytes32 dealId, uint16 mask) external;
    function deposit(bytes32 dealId, Side side) external;
    function poke(bytes32 dealId) external;
    function accountOf(address owner) external view returns (uint256);
    function burnable() external view returns (uint256);
    function seatCount(uint32 seatClass) external view returns (uint256);
    function seatOf(uint32 seatClass, uint256 seat) external view returns (Seat memory);
    function statusOf(bytes32 dealId)
        external
        view
        returns (Phase phase, uint256 until, uint256 round, uint256 fee, Finding memory finding, Row row);
    function turnOf(bytes32 dealId, uint256 round, uint256 position) external view returns (Turn memory);
}

/// @title What do a client, a provider and twelve seats do to a panel, in any order?
/// @notice Real escrow, real panel, committed bytecode. `act` does what the phase of a dispute waits for, by some of those
/// who could; `wait` lets time do it.
contract PanelHandler is Base {
    uint256 internal constant SEATS = 12;
    uint256 internal constant CLIENT = 1;
    uint256 internal constant PROVIDER = 2;
    uint256 internal constant FIRST_MEDIATOR = 10;
    uint32 internal constant CLASS = 1;
    uint256 internal constant PRICE = 1_000;
    uint256 internal constant BOND = 100_000;
    bytes32 internal constant CLIENT_SECRET = keccak256("client");
    bytes32 internal constant PROVIDER_SECRET = keccak256("provider");
    bytes32 internal constant SALT = keccak256("salt");
    bytes32 internal constant ROOT = keccak256("root");
    bytes32 internal constant PRINT = keccak256("print");

    MeshToken public immutable TOKEN;
    MeshEscrow public immutable ESCROW;
    IPanel public immutable PANEL;

    Lock[] internal _locks;
    mapping(bytes32 dealId => uint256) internal _outcome;
    mapping(bytes32 dealId => uint256) internal _deposits;
    string public broken;

    constructor() {
        VM.warp(1_800_000_000);
        TOKEN = MeshToken(
            _deploy("MeshToken", abi.encode("Mesh", "MESH", uint256(10 ** 27), address(this)))
        );
        Bounds memory bounds = Bounds(1 << 96, 1 days, 14 days, 1, 14 days, 1, 0, 60 days, 2, 4);
        PanelBounds memory waits = PanelBounds(20, 8, 20, 20, 20, 20, 6, 1, 4, uint128(BOND));
        // A contract's address is known before it is made: this one's second next creation.
        address panel = address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(this), hex"03")))));
        ESCROW = MeshEscrow(_deploy("MeshEscrow", abi.encode(address(TOKEN), true, panel, bounds)));
        PANEL = IPanel(_deploy("MediatorPanel", abi.encode(address(ESCROW), address(TOKEN), true, waits)));
        require(address(PANEL) == panel, "the panel is elsewhere");
        _arrive(CLIENT);
        _arrive(PROVIDER);
        VM.prank(VM.addr(PROVIDER));
        ESCROW.stake(10 ** 9);
        for (uint256 pick; pick < SEATS; ++pick) {
            _arrive(FIRST_MEDIATOR + pick);
            VM.prank(VM.addr(FIRST_MEDIATOR + pick));
            PANEL.join(CLASS);
        }
        VM.warp(block.timestamp + 2);
    }

    // --- calls -------------------------------------------------------------------------------------------------------

    function dispute(uint256 level, uint256 fee, uint256 collateral, uint256 outcome, bool withheld) external {
        require(_locks.length < 4);
        Deal memory deal = _deal(level, fee, collateral);
        bytes32 dealId = ESCROW.dealIdOf(deal);
        (bytes32 r, bytes32 vs) = _sign(CLIENT, dealId);
        VM.prank(deal.provider);
        ESCROW.commit(deal, r, vs);
        Lock memory lock = Lock({
            dealId: dealId,
            provider: deal.provider,
            run: bytes32((uint256(uint160(deal.client)) << 96) | (deal.runNonce << 32)),
            clientOwner: deal.client,
            providerOwner: deal.provider,
            price: deal.price,
            collateral: deal.collateral,
            claimWithin: deal.execSeconds + deal.claimSeconds,
            windowSeconds: deal.windowSeconds
        });
        _locks.push(lock);
        _outcome[dealId] = outcome % 8;
        bytes32 resultHash = _resultHash(dealId);
        VM.prank(deal.provider);
        ESCROW.claim(lock, resultHash);
        VM.prank(deal.client);
        PANEL.dispute(deal, lock, resultHash, CLIENT_SECRET, withheld ? Reason.WITHHELD : Reason.WRONG);
    }

    /// @notice What the dispute waits for, several times over: mostly by everybody, sometimes by the places in `who`.
    function act(uint256 pick, uint256 who, uint256 mask, uint256 steps) external {
        bytes32 dealId = _locks[pick % _locks.length].dealId;
        if (who % 4 != 0) who = type(uint256).max;
        if (mask % 4 != 0) mask = _likely(mask);
        for (uint256 step; step <= steps % 4; ++step) {
            (Phase phase,,,,,) = PANEL.statusOf(dealId);
            if (phase >= Phase.SETTLED) break;
            if (phase == Phase.VERDICT && step != 0) break;
            _act(dealId, who, mask);
        }
    }

    /// @dev Random masks hardly ever make a clique: two or all of the seats agree, with the provider or without.
    function _likely(uint256 mask) private pure returns (uint256) {
        uint256 seats = (mask >> 4) % 2 == 0 ? 0x7f : 3;
        uint256 provider = (mask >> 5) % 2 == 0 ? 0x80 : 0;
        return seats | provider | ((mask >> 6) % 8) << 8;
    }

    function _act(bytes32 dealId, uint256 who, uint256 mask) private {
        (Phase phase,, uint256 round,,,) = PANEL.statusOf(dealId);
        if (phase == Phase.DISPUTED) return PANEL.showSecret(dealId, PROVIDER_SECRET);
        if (phase == Phase.OPENING) return _open(dealId);
        if (phase == Phase.VERDICT || phase == Phase.APPEALED) return _appeal(dealId, Side((mask >> 5) % 2));
        if (phase == Phase.MATCHING && who != 0) {
            VM.prank(VM.addr(PROVIDER));
            try PANEL.publishProvider(dealId, uint16(mask)) {} catch {}
        }
        for (uint256 position; position < (round == 0 ? 3 : 7); ++position) {
            if ((who >> position) & 3 != 0) _turn(dealId, phase, round, position, mask);
        }
    }

    function wait(uint256 pick) external {
        require(pick % 3 == 0);
        bytes32 dealId = _locks[pick % _locks.length].dealId;
        (Phase phase, uint256 until,,,,) = PANEL.statusOf(dealId);
        require(phase < Phase.SETTLED);
        if (block.timestamp <= until) VM.warp(until + 1);
        try PANEL.poke(dealId) {}
        catch {
            broken = "time and anybody did not move a dispute on";
        }
    }

    function comeOrGo(uint256 who, uint256 how) external {
        address key = VM.addr(FIRST_MEDIATOR + who % SEATS);
        uint256 seat = how % PANEL.seatCount(CLASS);
        VM.prank(key);
        // Nothing else is called in between, or the cheat code would be used up.
        if (how % 5 == 0) PANEL.join(CLASS);
        else if (how % 5 == 1) PANEL.resign(CLASS, seat);
        else if (how % 5 == 2) PANEL.retire(CLASS, seat);
        else if (how % 5 == 3) PANEL.withdraw(_within(how, 1, 10 ** 5));
        else PANEL.burn();
    }

    // --- what is held ------------------------------------------------------------------------------------------------

    /// @notice Everything that the panel owes anybody: accounts, bonds of seats, bonds and deposits of open disputes.
    function owed() external view returns (uint256 sum) {
        sum = PANEL.burnable() + PANEL.accountOf(VM.addr(CLIENT)) + PANEL.accountOf(VM.addr(PROVIDER));
        for (uint256 pick; pick < SEATS; ++pick) sum += PANEL.accountOf(VM.addr(FIRST_MEDIATOR + pick));
        uint256 seats = PANEL.seatCount(CLASS);
        for (uint256 seat; seat < seats; ++seat) sum += PANEL.seatOf(CLASS, seat).bond;
        for (uint256 i; i < _locks.length; ++i) {
            (Phase phase,,, uint256 fee,,) = PANEL.statusOf(_locks[i].dealId);
            if (phase == Phase.NONE || phase >= Phase.SETTLED) continue;
            sum += 3 * fee + _locks[i].price / 2 + _deposits[_locks[i].dealId];
        }
    }

    /// @notice No seat has promised more than it has, and none is bound when no dispute is open.
    function seatsAreSound() external view returns (bool) {
        bool live;
        for (uint256 i; i < _locks.length; ++i) {
            (Phase phase,,,,,) = PANEL.statusOf(_locks[i].dealId);
            live = live || (phase != Phase.NONE && phase < Phase.SETTLED);
        }
        uint256 seats = PANEL.seatCount(CLASS);
        for (uint256 seat; seat < seats; ++seat) {
            Seat memory s = PANEL.seatOf(CLASS, seat);
            if (s.locked > s.bond || (!live && s.locked != 0)) return false;
        }
        return true;
    }

    /// @notice How the first dispute ended.
    function rowOfFirst() external view returns (Phase phase, Row row) {
        (phase,,,,, row) = PANEL.statusOf(_locks[0].dealId);
    }

    /// @notice From wherever they are, time and anybody end all disputes, in so many pokes at most.
    function endAll() external {
        for (uint256 i; i < _locks.length; ++i) {
            bytes32 dealId = _locks[i].dealId;
            uint256 pokes;
            while (true) {
                (Phase phase, uint256 until,,,,) = PANEL.statusOf(dealId);
                if (phase == Phase.NONE || phase >= Phase.SETTLED) break;
                require(++pokes <= 24, "a dispute does not end");
                if (block.timestamp <= until) VM.warp(until + 1);
                PANEL.poke(dealId);
            }
            bytes32 run = _locks[i].run;
            (State state,,) =
                ESCROW.slotOf(address(bytes20(run)), uint64(uint256(run) >> 32), uint32(uint256(run)));
            require(state > State.DISPUTED, "a dispute has ended and its deal has not");
        }
    }

    // --- inside ------------------------------------------------------------------------------------------------------

    function _arrive(uint256 key) private {
        address who = VM.addr(key);
        TOKEN.mint(who, 10 ** 12);
        VM.prank(who);
        TOKEN.approve(address(ESCROW), type(uint256).max);
        VM.prank(who);
        ESCROW.deposit(10 ** 11);
        VM.prank(who);
        ESCROW.fundPanel(10 ** 8);
    }

    function _deal(uint256 level, uint256 fee, uint256 collateral) private view returns (Deal memory deal) {
        deal.client = VM.addr(CLIENT);
        deal.provider = VM.addr(PROVIDER);
        deal.token = address(TOKEN);
        deal.runNonce = _locks.length;
        deal.price = PRICE;
        deal.level = _within(level, 1, 4);
        deal.enforcement = 1;
        deal.auditPpm = 500_000;
        deal.seatFee = _within(fee, 1_200, 3_000);
        uint256 promised = 2 * PRICE + 3 * deal.seatFee;
        deal.collateral = _within(collateral, promised < 8 * PRICE ? 8 * PRICE : promised, 100 * PRICE);
        deal.seatClass = CLASS;
        deal.seatSnapshot = SEATS;
        deal.clientSecretHash = keccak256(abi.encode(CLIENT_SECRET));
        deal.providerSecretHash = keccak256(abi.encode(PROVIDER_SECRET));
        deal.commitBy = block.timestamp + 600;
        deal.execSeconds = 60;
        deal.claimSeconds = 60;
        deal.windowSeconds = 60;
    }

    function _resultHash(bytes32 dealId) private view returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "ResultCommit(bytes32 dealId,bytes32 saltedRoot,uint8 outcome,int32 exitCode,uint64 fuel,"
                    "uint64 wallMs,bytes32 logHead)"
                ),
                dealId,
                keccak256(abi.encode(SALT, ROOT)),
                _outcome[dealId],
                int256(0),
                uint256(0),
                uint256(0),
                bytes32(0)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", ESCROW.domainSeparator(), structHash));
    }

    function _open(bytes32 dealId) private {
        VM.prank(VM.addr(PROVIDER));
        PANEL.open(dealId, Opening(SALT, ROOT, _outcome[dealId], 0, 0, 0, 0));
    }

    function _appeal(bytes32 dealId, Side side) private {
        (,,, uint256 fee,,) = PANEL.statusOf(dealId);
        address payer = VM.addr(side == Side.CLIENT ? CLIENT : PROVIDER);
        VM.prank(payer);
        PANEL.deposit(dealId, side);
        _deposits[dealId] += 7 * fee;
    }

    function _turn(bytes32 dealId, Phase phase, uint256 round, uint256 position, uint256 mask) private {
        uint256 seat = PANEL.turnOf(dealId, round, position).seat;
        address operator = PANEL.seatOf(CLASS, seat).operator;
        VM.prank(operator);
        if (phase == Phase.DRAWN) {
            try PANEL.accept(dealId, position) {} catch {}
        } else if (phase == Phase.COMMITTING && mask % 7 == 0) {
            try PANEL.missInputs(dealId, position) {} catch {}
        } else if (phase == Phase.COMMITTING) {
            bytes32 commitment = keccak256(abi.encode(dealId, round, seat, PRINT, SALT));
            try PANEL.commit(dealId, position, commitment) {} catch {}
        } else if (phase == Phase.REVEALING) {
            try PANEL.reveal(dealId, position, PRINT, SALT, mask % 5 != 0) {} catch {}
        } else {
            try PANEL.publish(dealId, position, uint16(mask)) {} catch {}
        }
    }
}
