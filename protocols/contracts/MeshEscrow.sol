// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Bounds, Deal, DealTerms} from "./DealTerms.sol";
import {Disputes} from "./Disputes.sol";
import {EscrowAccounts} from "./EscrowAccounts.sol";
import {Lock, State} from "./IMeshEscrow.sol";

/// @title How does a deal's money move?
/// @notice A provider commits a deal that both have signed: the client's price and the provider's collateral are locked.
/// Then the client consents to a payment (`settle`), or both cancel, or the provider claims and is paid when the window
/// has passed (`finalize`), or no claim comes in time and the client has its price back with a penalty (`expire`).
/// Every state but the final ones is left by a call that anybody may make once its time has come (`poke`), so no money
/// is locked for ever. One percent of what a provider is paid is burned.
/// @dev One storage slot per deal, keyed by (client, runNonce, index), which a deal consumes for good: state, since when,
/// and 208 bits of the hash of its `Lock`; docs/adr/0004-one-slot-per-deal.md has the reasons and the bound.
contract MeshEscrow is Disputes {
    bytes32 private constant SETTLEMENT_TYPEHASH = keccak256("Settlement(bytes32 dealId,uint128 paid)");
    bytes32 private constant CANCELLATION_TYPEHASH = keccak256("Cancellation(bytes32 dealId,uint128 paid)");

    /// @notice Price and collateral are locked: `run` is what is consumed, and with the rest all of a Lock.
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
    /// @notice The provider has claimed a result; without a dispute anybody may finalize after `windowEnds`.
    event DealClaimed(bytes32 indexed dealId, bytes32 resultHash, uint256 windowEnds);
    /// @notice Paid with the client's consent. `paid` is before the fee, which is `burned`; the rest of the price returns.
    event DealSettled(bytes32 indexed dealId, uint256 paid, uint256 burned);
    /// @notice Paid because nobody disputed the claim in time; `paid` is before the fee, which is `burned`.
    event DealFinalized(bytes32 indexed dealId, uint256 paid, uint256 burned);
    /// @notice Ended by both before any result, for `paid` (before the fee, which is `burned`).
    event DealCancelled(bytes32 indexed dealId, uint256 paid, uint256 burned);
    /// @notice `penalty` came out of the collateral: half of it is the client's, the rest (`burned`) nobody's.
    event DealExpired(bytes32 indexed dealId, uint256 penalty, uint256 burned);
    /// @notice This client's (runNonce, index) can never be committed.
    event RunBurned(address indexed client, uint64 runNonce, uint32 index);

    /// @notice Only the deal's provider may do this.
    error NotProvider(address caller, address provider);
    /// @notice Only the deal's client or provider may do this.
    error NotParty(address caller);
    /// @notice Client and provider belong to one owner.
    error SelfDeal(address owner);
    /// @notice More than the price.
    error Overpaid(uint256 paid, uint256 price);
    /// @notice The time for a claim is over: the deal can only expire.
    error ClaimTooLate(uint256 deadline);

    /// @param token The only token of this escrow.
    /// @param tokenBurns Whether it has `burn(uint256)`.
    /// @param panel The contract that may open and close disputes, usually deployed next; zero: no panel deals.
    /// @param limits What this escrow accepts, for good.
    constructor(IERC20 token, bool tokenBurns, address panel, Bounds memory limits)
        EIP712("MeshEscrow", "1")
        DealTerms(limits)
        EscrowAccounts(token, tokenBurns, panel)
    {}

    // --- a deal's life -----------------------------------------------------------------------------------------------

    /// @notice Lock price and collateral of a deal. Only the provider's operator, and only by `commitBy`.
    /// @param deal All signed terms, with the hash of `gpus` in its place.
    /// @param r First half of the client's signature of the deal.
    /// @param vs Second half in compact form (EIP-2098).
    /// @return dealId EIP-712 digest of the deal.
    function commit(Deal calldata deal, bytes32 r, bytes32 vs) external returns (bytes32 dealId) {
        require(msg.sender == deal.provider, NotProvider(msg.sender, deal.provider));
        _checkTerms(deal, address(TOKEN), PANEL != address(0));
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
        _move(lock, slot, State.SETTLED);
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
        _move(lock, slot, State.CANCELLED);
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
        _bind(lock, resultHash, State.CLAIMED);
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
        else if (state == State.DISPUTED) _void(lock, slot);
        else revert WrongState(state);
    }

    /// @notice Make sure that the caller's deal (runNonce, index) can never be committed.
    function burnRun(uint64 runNonce, uint32 index) external {
        _consume(_run(msg.sender, runNonce, index), State.BURNED, 0);
        emit RunBurned(msg.sender, runNonce, index);
    }

    // --- views -------------------------------------------------------------------------------------------------------

    /// @notice EIP-712 digest of a deal on this escrow: its DealId.
    function dealIdOf(Deal calldata deal) external view returns (bytes32) {
        return _hashTypedDataV4(_dealStructHash(deal));
    }

    // --- inside ------------------------------------------------------------------------------------------------------

    function _finalize(Lock calldata lock, uint256 slot) private {
        uint256 ends = _sinceOf(slot) + lock.windowSeconds;
        require(block.timestamp > ends, TooEarly(ends + 1));
        _move(lock, slot, State.SETTLED);
        emit DealFinalized(lock.dealId, lock.price, _pay(lock, lock.price));
    }

    function _expire(Lock calldata lock, uint256 slot) private {
        uint256 deadline = _sinceOf(slot) + lock.claimWithin;
        require(block.timestamp > deadline, TooEarly(deadline + 1));
        _move(lock, slot, State.EXPIRED);
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
}
