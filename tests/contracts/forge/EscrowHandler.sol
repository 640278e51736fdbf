// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bounds, Deal} from "../../../protocols/contracts/DealTerms.sol";
import {Channel, Earned} from "../../../protocols/contracts/Channels.sol";
import {Lock, Payout, State} from "../../../protocols/contracts/IMeshEscrow.sol";
import {MeshEscrow} from "../../../protocols/contracts/MeshEscrow.sol";
import {MeshToken} from "../../../protocols/contracts/MeshToken.sol";
import {Base} from "./Vm.sol";

/// @title What do people do to an escrow, in any order?
/// @notice Two clients, two providers, a bystander, and this contract as minter and as panel. Every call either succeeds or
/// is refused; what must never happen is written down in `broken`.
contract EscrowHandler is Base {
    uint256 internal constant PEOPLE = 5;
    uint256 internal constant BYSTANDER = 4;
    bytes32 internal constant RESULT = keccak256("result");
    uint256 internal constant YEAR = 365 days;

    MeshToken public immutable TOKEN;
    MeshEscrow public immutable ESCROW;

    Lock[] internal _locks;
    bool[] internal _claimed;
    Channel[] internal _channels;
    mapping(uint256 channel => uint256) internal _redeemed;
    uint64 internal _runs;
    /// @notice The first rule that was broken; empty when all hold.
    string public broken;
    /// @notice Transitions of deals so far: an invariant run that moves nothing proves nothing.
    uint256 public moved;

    constructor() {
        VM.warp(1_800_000_000);
        TOKEN = MeshToken(
            _deploy("MeshToken", abi.encode("Mesh", "MESH", uint256(10 ** 27), address(this)))
        );
        Bounds memory bounds = Bounds({
            maxPrice: 1 << 96,
            maxCommitLead: 1 days,
            maxExec: 14 days,
            minClaim: 1,
            maxClaim: 14 days,
            windowBase: 1,
            windowExecFactor: 0,
            maxWindow: 60 days,
            withdrawDelay: 2,
            unstakeDelay: 4
        });
        ESCROW = MeshEscrow(_deploy("MeshEscrow", abi.encode(address(TOKEN), true, address(this), bounds)));
        for (uint256 who; who < PEOPLE; ++who) {
            TOKEN.mint(person(who), 10 ** 24);
            VM.prank(person(who));
            TOKEN.approve(address(ESCROW), type(uint256).max);
            VM.prank(person(who));
            ESCROW.deposit(10 ** 23);
            VM.prank(person(who));
            ESCROW.stake(10 ** 22);
        }
    }

    function person(uint256 who) public pure returns (address) {
        return VM.addr(who + 1);
    }

    /// @notice Called by the escrow when somebody funds its panel.
    function onFunded(address, uint256) external {}

    // --- accounts ----------------------------------------------------------------------------------------------------

    function deposit(uint256 who, uint256 amount) external {
        VM.prank(_trader(who));
        ESCROW.deposit(_within(amount, 1, 10 ** 21));
    }

    function stake(uint256 who, uint256 amount) external {
        VM.prank(_trader(who));
        ESCROW.stake(uint120(_within(amount, 1, 10 ** 21)));
    }

    function fundPanel(uint256 who, uint256 amount) external {
        VM.prank(_trader(who));
        ESCROW.fundPanel(uint128(_within(amount, 1, 10 ** 19)));
    }

    /// @notice Whoever has asked to leave and has waited is paid, in full (I9).
    function leave(uint256 who, uint256 amount, bool staked) external {
        address owner = _trader(who);
        (uint128 free, uint128 locked) = ESCROW.accountOf(owner);
        uint128 most = staked ? locked : free;
        if (most == 0) return;
        uint128 asked = uint128(_within(amount, 1, most));
        VM.prank(owner);
        if (staked) ESCROW.requestUnstake(uint120(asked));
        else ESCROW.requestWithdraw(asked);
        VM.warp(block.timestamp + (staked ? 4 : 2));
        uint256 before = TOKEN.balanceOf(owner);
        try this.pull(owner, staked) {
            if (TOKEN.balanceOf(owner) < before + asked) broken = "an exit paid less than was asked for";
        } catch {
            broken = "an exit was refused after its delay";
        }
    }

    /// @dev One call, so that its refusal can be caught.
    function pull(address owner, bool staked) external {
        require(msg.sender == address(this));
        VM.prank(owner);
        if (staked) ESCROW.unstake();
        else ESCROW.withdraw();
    }

    function burn() external {
        ESCROW.burnFees();
    }

    function mint(uint256 amount, uint256 wait) external {
        VM.warp(block.timestamp + wait % 10 days);
        TOKEN.mint(address(this), _within(amount, 1, 10 ** 26));
    }

    // --- deals -------------------------------------------------------------------------------------------------------

    function commit(uint256 pair, uint256 price, uint256 collateral) external {
        _commit(pair, price, collateral);
        _commit(pair >> 2, price >> 2, collateral >> 2);
    }

    function _commit(uint256 pair, uint256 price, uint256 collateral) private {
        price = _within(price, 1, 10 ** 19);
        Deal memory deal = _deal(pair, price, _within(collateral, 0, 100 * price));
        bytes32 dealId = ESCROW.dealIdOf(deal);
        (bytes32 r, bytes32 vs) = _sign(pair % 2 + 1, dealId);
        VM.prank(deal.provider);
        ESCROW.commit(deal, r, vs);
        ++_runs;
        _claimed.push(false);
        _locks.push(
            Lock({
                dealId: dealId,
                provider: deal.provider,
                run: bytes32((uint256(uint160(deal.client)) << 96) | (deal.runNonce << 32)),
                clientOwner: deal.client,
                providerOwner: deal.provider,
                price: deal.price,
                collateral: deal.collateral,
                claimWithin: deal.execSeconds + deal.claimSeconds,
                windowSeconds: deal.windowSeconds
            })
        );
        ++moved;
    }

    function claim(uint256 pick) external {
        (uint256 i, Lock memory lock) = _pick(pick);
        VM.prank(lock.provider);
        ESCROW.claim(lock, RESULT);
        _claimed[i] = true;
        ++moved;
    }

    function settle(uint256 pick, uint256 paid, uint256 chain) external {
        (uint256 i, Lock memory lock) = _pick(pick);
        bool otherChain = chain % 4 == 0;
        uint128 part = uint128(_within(paid, 0, lock.price));
        bytes32 structHash =
            keccak256(abi.encode(keccak256("Settlement(bytes32 dealId,uint128 paid)"), lock.dealId, part));
        (bytes32 r, bytes32 vs) = _sign(_keyOf(lock.clientOwner), _digest(structHash, otherChain));
        VM.prank(lock.provider);
        ESCROW.settle(lock, _claimed[i] ? RESULT : bytes32(0), part, r, vs);
        if (otherChain) broken = "a signature for another chain has settled a deal";
        ++moved;
    }

    /// @notice As the panel, which may divide a deal's money in any way that adds up.
    function disputeAndClose(uint256 pick, uint256 a, uint256 b, uint256 c, uint256 d, uint256 extra) external {
        (uint256 i, Lock memory lock) = _pick(pick);
        (State state,) = stateOf(i);
        if (state != State.DISPUTED) ESCROW.openDispute(lock, RESULT);
        _claimed[i] = true;
        uint256 rest = lock.price + lock.collateral;
        Payout memory payout;
        payout.toClient = a % (rest + 1);
        rest -= payout.toClient;
        payout.toProvider = b % (rest + 1);
        rest -= payout.toProvider;
        payout.toStake = c % (rest + 1);
        rest -= payout.toStake;
        payout.toPanel = d % (rest + 1);
        payout.burned = rest - payout.toPanel;
        if (extra % 4 == 0) {
            payout.toClient += 1;
            try ESCROW.closeDispute(lock, RESULT, State.SLASHED, payout) {
                broken = "a panel has paid out more than the deal held";
            } catch {}
            payout.toClient -= 1;
        }
        ESCROW.closeDispute(lock, RESULT, State(4 + 3 * (extra % 2)), payout);
        ++moved;
    }

    function openDispute(uint256 pick) external {
        (uint256 i, Lock memory lock) = _pick(pick);
        ESCROW.openDispute(lock, RESULT);
        _claimed[i] = true;
        ++moved;
    }

    /// @notice Only time and anybody: every open deal ends (I3), and what has ended does not end again.
    function end(uint256 pick) external {
        (uint256 i, Lock memory lock) = _pick(pick);
        bytes32 result = _claimed[i] ? RESULT : bytes32(0);
        (State was, uint256 since) = stateOf(i);
        uint256 wait = was == State.COMMITTED ? lock.claimWithin : was == State.CLAIMED ? lock.windowSeconds : YEAR;
        if (block.timestamp <= since + wait) VM.warp(since + wait + 1);
        try ESCROW.poke(lock, result) {
            if (was > State.DISPUTED) broken = "a deal has ended twice";
            ++moved;
        } catch {
            if (was <= State.DISPUTED) broken = "time and anybody did not end a deal";
        }
    }

    // --- channels ----------------------------------------------------------------------------------------------------

    function open(uint256 pair, uint256 amount) external {
        address client = person(pair % 2);
        address provider = person(2 + (pair >> 1) % 2);
        VM.prank(client);
        ESCROW.fundChannel(_within(amount, 1, 10 ** 20), provider);
        (, uint24 generation,,) = ESCROW.channelOf(client, provider, client);
        for (uint256 i; i < _channels.length; ++i) {
            if (_channels[i].client == client && _channels[i].provider == provider) {
                if (_channels[i].generation != generation) _redeemed[i] = 0;
                _channels[i].generation = generation;
                return;
            }
        }
        _channels.push(Channel({client: client, provider: provider, clientOwner: client, generation: generation}));
    }

    function redeem(uint256 pick, uint256 cumulative, uint256 chain) external {
        uint256 i = pick % _channels.length;
        bool otherChain = chain % 4 == 0;
        Channel memory channel = _channels[i];
        (,, uint96 most,) = ESCROW.channelOf(channel.client, channel.provider, channel.clientOwner);
        cumulative = _within(cumulative, _redeemed[i], most + uint256(most) / 8);
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Voucher(bytes32 channelId,uint128 cumulative,uint64 count,bytes32 dealsRoot)"),
                keccak256(abi.encode(channel)),
                cumulative,
                uint256(1),
                RESULT
            )
        );
        (bytes32 r, bytes32 vs) = _sign(_keyOf(channel.client), _digest(structHash, otherChain));
        VM.prank(channel.provider);
        ESCROW.redeem(channel, Earned({cumulative: cumulative, count: 1, dealsRoot: RESULT, r: r, vs: vs}));
        if (otherChain) broken = "a voucher for another chain was redeemed";
        (,, uint96 funded, uint96 redeemed) = ESCROW.channelOf(channel.client, channel.provider, channel.clientOwner);
        if (redeemed <= _redeemed[i] || redeemed > funded) broken = "a channel went back, or paid more than it had";
        _redeemed[i] = redeemed;
        ++moved;
    }

    function close(uint256 pick, bool byProvider, uint256 wait) external {
        uint256 i = pick % _channels.length;
        Channel memory channel = _channels[i];
        if (byProvider) {
            VM.prank(channel.provider);
        } else {
            VM.prank(channel.client);
            ESCROW.requestClose(channel);
            VM.warp(block.timestamp + wait % 5);
        }
        ESCROW.close(channel);
        ++moved;
    }

    // --- what is held ------------------------------------------------------------------------------------------------

    /// @notice Everything that the escrow owes anybody (I1).
    function owed() external view returns (uint256 sum) {
        sum = ESCROW.burnable();
        for (uint256 who; who < PEOPLE; ++who) {
            (uint128 free, uint128 staked) = ESCROW.accountOf(person(who));
            (uint128 withdrawing,, uint128 unstaking,) = ESCROW.exitsOf(person(who));
            sum += uint256(free) + staked + withdrawing + unstaking;
        }
        for (uint256 i; i < _locks.length; ++i) {
            (State state,) = stateOf(i);
            if (state <= State.DISPUTED) sum += _locks[i].price + _locks[i].collateral;
        }
        for (uint256 i; i < _channels.length; ++i) {
            Channel memory c = _channels[i];
            (uint40 until,, uint96 funded, uint96 redeemed) = ESCROW.channelOf(c.client, c.provider, c.clientOwner);
            if (until != 0) sum += uint256(funded) - redeemed + redeemed / 100;
        }
    }

    /// @notice The bystander has signed nothing since the beginning (I4).
    function bystander() external view returns (uint128 free, uint128 staked) {
        return ESCROW.accountOf(person(BYSTANDER));
    }

    function stateOf(uint256 i) public view returns (State state, uint256 since) {
        bytes32 run = _locks[i].run;
        (state, since,) = ESCROW.slotOf(address(bytes20(run)), uint64(uint256(run) >> 32), uint32(uint256(run)));
    }

    // --- inside ------------------------------------------------------------------------------------------------------

    /// @dev The first deal from `at` on that is open, sometimes another.
    function _pick(uint256 pick) private view returns (uint256 i, Lock memory lock) {
        uint256 n = _locks.length;
        for (uint256 tried; tried < n; ++tried) {
            i = (pick % n + tried) % n;
            (State state,) = stateOf(i);
            if (state <= State.DISPUTED || pick % 8 == 0) break;
        }
        lock = _locks[i];
    }

    function _trader(uint256 who) private pure returns (address) {
        return person(who % BYSTANDER);
    }

    function _keyOf(address who) private pure returns (uint256 key) {
        for (key = 1; person(key - 1) != who;) ++key;
    }

    function _digest(bytes32 structHash, bool otherChain) private view returns (bytes32) {
        bytes32 domain = ESCROW.domainSeparator();
        if (otherChain) {
            domain = keccak256(
                abi.encode(
                    keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                    keccak256("MeshEscrow"),
                    keccak256("1"),
                    block.chainid + 1,
                    address(ESCROW)
                )
            );
        }
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function _deal(uint256 pair, uint256 price, uint256 collateral) private view returns (Deal memory deal) {
        deal.client = person(pair % 2);
        deal.provider = person(2 + (pair >> 1) % 2);
        deal.token = address(TOKEN);
        deal.runNonce = _runs;
        deal.price = price;
        deal.collateral = collateral;
        deal.level = 1;
        deal.commitBy = block.timestamp + 600;
        deal.execSeconds = 60;
        deal.claimSeconds = 60;
        deal.windowSeconds = 60;
    }
}
