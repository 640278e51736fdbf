// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Bounds, Deal, DealTerms} from "./DealTerms.sol";
import {EscrowAccounts} from "./EscrowAccounts.sol";

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

/// @title How does a deal's money move?
/// @notice A provider commits a deal that both have signed: the client's price and the provider's collateral are locked.
/// Then the client consents to a payment (`settle`), or both cancel, or the provider claims and is paid when the window
/// has passed (`finalize`), or no claim comes in time and the client has its price back with a penalty (`expire`).
/// Every state but the final ones is left by a call that anybody may make once its time has come (`poke`), so no money
/// is locked for ever. One percent of what a provider is paid is burned.
/// @dev One storage slot per deal, keyed by (client, runNonce, index), which a deal consumes for good: state, since when,
/// and 208 bits of the hash of its `Lock`; docs/adr/0004-one-slot-per-deal.md has the reasons and the bound.
contract MeshEscrow is EscrowAccounts {
    /// @dev DISPUTED, SLASHED and VOID belong to the panel and keep their numbers for it.
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

    bytes32 private constant SETTLEMENT_TYPEHASH = keccak256("Settlement(bytes32 dealId,uint128 paid)");
    bytes32 private constant CANCELLATION_TYPEHASH = keccak256("Cancellation(bytes32 dealId,uint128 paid)");
    uint256 private constant LOCK_BYTES = 9 * 32;
    /// @dev One percent of each payment is burned.
    uint256 private constant FEE_DIVISOR = 100;

    /// @dev One word per deal, from the top: State (8 bits), block time since when (40), and the identity (208): the upper
    /// bits of the Lock's hash, mixed with the result's once there is one.
    mapping(bytes32 run => uint256 slot) private _slots;

    event DealCommitted(
        bytes32 indexed dealId,
        address indexed client,
        address indexed provider,
        bytes32 run,
        address clientOwner,
        address providerOwner,
        uint256 price,
        uint256 collateral,
        uint256 claimWithin,
        uint256 windowSeconds
    );
    event DealClaimed(bytes32 indexed dealId, bytes32 resultHash, uint256 windowEnds);
    event DealSettled(bytes32 indexed dealId, uint256 paid, uint256 burned);
    event DealFinalized(bytes32 indexed dealId, uint256 paid, uint256 burned);
    event DealCancelled(bytes32 indexed dealId, uint256 paid, uint256 burned);
    /// @notice `penalty` came out of the collateral: half of it is the client's, the rest (`burned`) nobody's.
    event DealExpired(bytes32 indexed dealId, uint256 penalty, uint256 burned);
    event RunBurned(address indexed client, uint64 runNonce, uint32 index);

    error NotProvider(address caller, address provider);
    error NotParty(address caller);
    error SelfDeal(address owner);
    /// @notice (client, runNonce, index) has been used.
    error AlreadyConsumed(State state);
    /// @notice The call is not possible in the deal's state.
    error WrongState(State state);
    /// @notice No such deal: the Lock or the result hash is not what this escrow holds.
    error UnknownDeal(bytes32 dealId);
    error Overpaid(uint256 paid, uint256 price);
    error ZeroResult();
    error ClaimTooLate(uint256 deadline);
    error TooEarly(uint256 notBefore);

    /// @param token The only token of this escrow.
    /// @param tokenBurns Whether it has `burn(uint256)`.
    /// @param limits What this escrow accepts, for good.
    constructor(IERC20 token, bool tokenBurns, Bounds memory limits)
        EIP712("MeshEscrow", "1")
        DealTerms(limits)
        EscrowAccounts(token, tokenBurns)
    {}

    // --- a deal's life -----------------------------------------------------------------------------------------------

    /// @notice Lock price and collateral of a deal. Only the provider's operator, and only by `commitBy`.
    /// @param deal All signed terms, with the hash of `gpus` in its place.
    /// @param r First half of the client's signature of the deal.
    /// @param vs Second half in compact form (EIP-2098).
    /// @return dealId EIP-712 digest of the deal.
    function commit(Deal calldata deal, bytes32 r, bytes32 vs) external returns (bytes32 dealId) {
        require(msg.sender == deal.provider, NotProvider(msg.sender, deal.provider));
        _checkTerms(deal, address(TOKEN));
        dealId = _hashTypedDataV4(_dealStructHash(deal));
        address client = deal.client;
        _requireSigned(client, dealId, r, vs);
        Lock memory lock = Lock({
            dealId: dealId,
            provider: msg.sender,
            run: _run(client, deal.runNonce, deal.index),
            clientOwner: ownerOf(client),
            providerOwner: ownerOf(msg.sender),
            price: deal.price,
            collateral: deal.collateral,
            claimWithin: deal.execSeconds + deal.claimSeconds,
            windowSeconds: deal.windowSeconds
        });
        require(lock.clientOwner != lock.providerOwner, SelfDeal(lock.clientOwner));
        _consume(lock.run, State.COMMITTED, _announce(lock, client));
        _lock(lock.clientOwner, lock.price, lock.providerOwner, lock.collateral);
    }

    /// @notice The client has consented to `paid`: pay it and end the deal. Only the provider's operator.
    /// @param lock The deal as committed.
    /// @param resultHash What `claim` has recorded; zero when nothing was claimed.
    /// @param paid The provider's part of the price; the rest returns to the client.
    /// @param r First half of the client's signature of `Settlement(dealId, paid)`.
    /// @param vs Second half in compact form (EIP-2098).
    function settle(Lock calldata lock, bytes32 resultHash, uint128 paid, bytes32 r, bytes32 vs) external {
        require(msg.sender == lock.provider, NotProvider(msg.sender, lock.provider));
        uint256 slot = _open(lock, resultHash);
        require(_stateOf(slot) == State.COMMITTED || _stateOf(slot) == State.CLAIMED, WrongState(_stateOf(slot)));
        bytes32 structHash = keccak256(abi.encode(SETTLEMENT_TYPEHASH, lock.dealId, paid));
        _requireSigned(_client(lock), _hashTypedDataV4(structHash), r, vs);
        _close(lock, slot, State.SETTLED);
        emit DealSettled(lock.dealId, paid, _pay(lock, paid));
    }

    /// @notice Both end the deal before any claim. One sends, the other has signed.
    /// @param lock The deal as committed.
    /// @param paid The provider's part of the price; the rest returns to the client.
    /// @param r First half of the other party's signature of `Cancellation(dealId, paid)`.
    /// @param vs Second half in compact form (EIP-2098).
    function cancel(Lock calldata lock, uint128 paid, bytes32 r, bytes32 vs) external {
        address client = _client(lock);
        require(msg.sender == lock.provider || msg.sender == client, NotParty(msg.sender));
        uint256 slot = _open(lock, 0);
        require(_stateOf(slot) == State.COMMITTED, WrongState(_stateOf(slot)));
        bytes32 structHash = keccak256(abi.encode(CANCELLATION_TYPEHASH, lock.dealId, paid));
        address other = msg.sender == lock.provider ? client : lock.provider;
        _requireSigned(other, _hashTypedDataV4(structHash), r, vs);
        _close(lock, slot, State.CANCELLED);
        emit DealCancelled(lock.dealId, paid, _pay(lock, paid));
    }

    /// @notice The client is silent: record the result and start the window. Only the provider's operator, and only by
    /// the claim deadline.
    /// @param lock The deal as committed.
    /// @param resultHash EIP-712 digest of the provider's `ResultCommit`; later calls bring it along.
    function claim(Lock calldata lock, bytes32 resultHash) external {
        require(msg.sender == lock.provider, NotProvider(msg.sender, lock.provider));
        require(resultHash != 0, ZeroResult());
        uint256 slot = _open(lock, 0);
        require(_stateOf(slot) == State.COMMITTED, WrongState(_stateOf(slot)));
        uint256 deadline = _sinceOf(slot) + lock.claimWithin;
        require(block.timestamp <= deadline, ClaimTooLate(deadline));
        _write(lock.run, State.CLAIMED, _identity(_hashLock(lock), resultHash));
        emit DealClaimed(lock.dealId, resultHash, block.timestamp + lock.windowSeconds);
    }

    /// @notice The window after a claim has passed undisputed: the provider has its price. Anyone may call.
    function finalize(Lock calldata lock, bytes32 resultHash) external {
        uint256 slot = _open(lock, resultHash);
        require(_stateOf(slot) == State.CLAIMED, WrongState(_stateOf(slot)));
        _finalize(lock, slot);
    }

    /// @notice No claim by its deadline: the client has its price back, and a penalty of one price (or of all the
    /// collateral, when that is less) goes half to the client and half to nobody. Anyone may call.
    function expire(Lock calldata lock) external {
        uint256 slot = _open(lock, 0);
        require(_stateOf(slot) == State.COMMITTED, WrongState(_stateOf(slot)));
        _expire(lock, slot);
    }

    /// @notice Do whatever time has made possible. Anyone may call.
    /// @param resultHash What `claim` has recorded; zero when nothing was claimed.
    function poke(Lock calldata lock, bytes32 resultHash) external {
        uint256 slot = _open(lock, resultHash);
        State state = _stateOf(slot);
        if (state == State.COMMITTED) _expire(lock, slot);
        else if (state == State.CLAIMED) _finalize(lock, slot);
        else revert WrongState(state);
    }

    /// @notice Make sure that the caller's deal (runNonce, index) can never be committed.
    function burnRun(uint64 runNonce, uint32 index) external {
        _consume(_run(msg.sender, runNonce, index), State.BURNED, 0);
        emit RunBurned(msg.sender, runNonce, index);
    }

    // --- views -------------------------------------------------------------------------------------------------------

    /// @notice State of the deal that has consumed (client, runNonce, index), since when, and its identity.
    function slotOf(address client, uint64 runNonce, uint32 index)
        external
        view
        returns (State state, uint40 since, bytes26 identity)
    {
        uint256 slot = _slots[_run(client, runNonce, index)];
        return (_stateOf(slot), uint40(_sinceOf(slot)), bytes26(uint208(slot)));
    }

    /// @notice EIP-712 digest of a deal on this escrow: its DealId.
    function dealIdOf(Deal calldata deal) external view returns (bytes32) {
        return _hashTypedDataV4(_dealStructHash(deal));
    }

    // --- inside ------------------------------------------------------------------------------------------------------

    function _consume(bytes32 run, State state, bytes32 lockHash) private {
        State was = _stateOf(_slots[run]);
        require(was == State.NONE, AlreadyConsumed(was));
        _write(run, state, _identity(lockHash, 0));
    }

    /// @dev The deal's slot, if `lock` and `resultHash` are what it holds.
    function _open(Lock calldata lock, bytes32 resultHash) private view returns (uint256 slot) {
        slot = _slots[lock.run];
        require(uint208(slot) == _identity(_hashLock(lock), resultHash), UnknownDeal(lock.dealId));
    }

    /// @dev A final state keeps the identity of what it ended.
    function _close(Lock calldata lock, uint256 slot, State state) private {
        _write(lock.run, state, uint208(slot));
    }

    /// @dev The only write of a slot: one word, packed here because the compiler would write a struct field by field.
    function _write(bytes32 run, State state, uint208 identity) private {
        _slots[run] = (uint256(state) << 248) | (uint256(uint40(block.timestamp)) << 208) | identity;
    }

    function _stateOf(uint256 slot) private pure returns (State) {
        return State(slot >> 248);
    }

    function _sinceOf(uint256 slot) private pure returns (uint256) {
        return uint40(slot >> 208);
    }

    function _finalize(Lock calldata lock, uint256 slot) private {
        uint256 ends = _sinceOf(slot) + lock.windowSeconds;
        require(block.timestamp > ends, TooEarly(ends + 1));
        _close(lock, slot, State.SETTLED);
        emit DealFinalized(lock.dealId, lock.price, _pay(lock, lock.price));
    }

    function _expire(Lock calldata lock, uint256 slot) private {
        uint256 deadline = _sinceOf(slot) + lock.claimWithin;
        require(block.timestamp > deadline, TooEarly(deadline + 1));
        _close(lock, slot, State.EXPIRED);
        uint256 penalty = lock.price < lock.collateral ? lock.price : lock.collateral;
        uint256 toClient = penalty / 2;
        _credit(lock.clientOwner, lock.price + toClient, 0);
        _credit(lock.providerOwner, 0, lock.collateral - penalty);
        _burnLater(penalty - toClient);
        emit DealExpired(lock.dealId, penalty, penalty - toClient);
    }

    /// @dev Divide the price; the collateral returns to the stake it came from.
    function _pay(Lock calldata lock, uint256 paid) private returns (uint256 fee) {
        require(paid <= lock.price, Overpaid(paid, lock.price));
        fee = paid / FEE_DIVISOR;
        _credit(lock.clientOwner, lock.price - paid, 0);
        _credit(lock.providerOwner, paid - fee, lock.collateral);
        _burnLater(fee);
    }

    /// @dev `emit DealCommitted(...)` and `keccak256(abi.encode(lock))` without copying: a struct of words lies in memory
    /// as its ABI encoding, and the event's data are its last seven. Tests compare both with the ABI's.
    function _announce(Lock memory lock, address client) private returns (bytes32 lockHash) {
        bytes32 topic = DealCommitted.selector;
        uint256 size = LOCK_BYTES;
        assembly ("memory-safe") {
            lockHash := keccak256(lock, size)
            log4(add(lock, 64), sub(size, 64), topic, mload(lock), client, mload(add(lock, 32)))
        }
    }

    /// @dev Both numbers are bounded by their callers: by the terms' checks, or by their types.
    function _run(address client, uint256 runNonce, uint256 index) private pure returns (bytes32) {
        return bytes32((uint256(uint160(client)) << 96) | (runNonce << 32) | index);
    }

    function _client(Lock calldata lock) private pure returns (address) {
        return address(bytes20(lock.run));
    }

    function _identity(bytes32 lockHash, bytes32 resultHash) private pure returns (uint208) {
        bytes32 whole = resultHash == 0 ? lockHash : keccak256(abi.encode(lockHash, resultHash));
        return uint208(uint256(whole) >> 48);
    }

    /// @dev Equal to `keccak256(abi.encode(lock))`. Dirty upper bits give another hash, which no slot holds.
    function _hashLock(Lock calldata lock) private pure returns (bytes32 lockHash) {
        uint256 size = LOCK_BYTES;
        assembly ("memory-safe") {
            let words := mload(0x40)
            calldatacopy(words, lock, size)
            lockHash := keccak256(words, size)
        }
    }
}
