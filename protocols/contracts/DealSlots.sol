// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Channels} from "./Channels.sol";
import {Lock, State} from "./IMeshEscrow.sol";

/// @title What does the escrow remember of a deal?
/// @notice One word, keyed by what the deal has consumed, (client, runNonce, index), and never cleared: state, since when,
/// and 208 bits of the hash of its `Lock`. docs/adr/0004-one-slot-per-deal.md has the reasons and the bound.
abstract contract DealSlots is Channels {
    uint256 internal constant LOCK_BYTES = 9 * 32;

    /// @dev From the top: State (8 bits), block time since when (40), and the identity (208): the upper bits of the Lock's
    /// hash, mixed with the result's once there is one.
    mapping(bytes32 run => uint256 slot) private _slots;

    /// @notice (client, runNonce, index) has been used.
    error AlreadyConsumed(State state);
    /// @notice The call is not possible in the deal's state.
    error WrongState(State state);
    /// @notice No such deal: the Lock or the result hash is not what this escrow holds.
    error UnknownDeal(bytes32 dealId);
    /// @notice A result's hash is needed.
    error ZeroResult();

    /// @notice State of the deal that has consumed (client, runNonce, index), since when, and its identity.
    function slotOf(address client, uint64 runNonce, uint32 index)
        external
        view
        returns (State state, uint40 since, bytes26 identity)
    {
        uint256 slot = _slots[_run(client, runNonce, index)];
        return (_stateOf(slot), uint40(_sinceOf(slot)), bytes26(uint208(slot)));
    }

    // --- for the deals -----------------------------------------------------------------------------------------------

    function _consume(bytes32 run, State state, bytes32 lockHash) internal {
        State was = _stateOf(_slots[run]);
        require(was == State.NONE, AlreadyConsumed(was));
        _write(run, state, _identity(lockHash, 0));
    }

    /// @dev The deal's slot, if `lock` and `resultHash` are what it holds.
    function _open(Lock calldata lock, bytes32 resultHash) internal view returns (uint256 slot) {
        slot = _slots[lock.run];
        require(uint208(slot) == _identity(_hashLock(lock), resultHash), UnknownDeal(lock.dealId));
    }

    /// @dev As `_open`, for a caller that does not know whether a claim has bound the result already.
    function _openEither(Lock calldata lock, bytes32 resultHash) internal view returns (uint256 slot, bool bound) {
        slot = _slots[lock.run];
        bytes32 lockHash = _hashLock(lock);
        bound = uint208(slot) == _identity(lockHash, resultHash);
        require(bound || uint208(slot) == _identity(lockHash, 0), UnknownDeal(lock.dealId));
    }

    /// @dev A changed state keeps the identity: which deal it was, and which result was bound to it.
    function _move(Lock calldata lock, uint256 slot, State state) internal {
        _write(lock.run, state, uint208(slot));
    }

    /// @dev The provider is bound to `resultHash` from here on.
    function _bind(Lock calldata lock, bytes32 resultHash, State state) internal {
        _write(lock.run, state, _identity(_hashLock(lock), resultHash));
    }

    function _stateOf(uint256 slot) internal pure returns (State) {
        return State(slot >> 248);
    }

    function _sinceOf(uint256 slot) internal pure returns (uint256) {
        return uint40(slot >> 208);
    }

    /// @dev Both numbers are bounded by their callers: by the terms' checks, or by their types.
    function _run(address client, uint256 runNonce, uint256 index) internal pure returns (bytes32) {
        return bytes32((uint256(uint160(client)) << 96) | (runNonce << 32) | index);
    }

    function _client(Lock calldata lock) internal pure returns (address) {
        return address(bytes20(lock.run));
    }

    // --- inside ------------------------------------------------------------------------------------------------------

    /// @dev The only write of a slot: one word, packed here because the compiler would write a struct field by field.
    function _write(bytes32 run, State state, uint208 identity) private {
        _slots[run] = (uint256(state) << 248) | (uint256(uint40(block.timestamp)) << 208) | identity;
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
