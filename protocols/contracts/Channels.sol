// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowAccounts} from "./EscrowAccounts.sol";

/// @notice Which channel a call is about: the preimage of its id. `clientOwner` is whose money it holds, the owner behind
/// the client's operator when it was opened. These three have one channel; `generation` counts how often it was opened.
struct Channel {
    address client;
    address provider;
    address clientOwner;
    uint64 generation;
}

/// @notice What the provider has earned in a channel so far, and for what: the Merkle root of the DealIds of all `count`
/// deals since it was opened. One side has signed it, in compact form (EIP-2098). The
/// signed types are uint128 and uint64.
struct Earned {
    uint256 cumulative;
    uint256 count;
    bytes32 dealsRoot;
    bytes32 r;
    bytes32 vs;
}

/// @notice One voucher among several.
struct Redemption {
    Channel channel;
    Earned voucher;
}

/// @title How are many small deals of one pair paid with two transactions?
/// @notice A client locks money for one provider. After each deal it signs a voucher for all it owes since the beginning;
/// the provider redeems the last one. The money that is left returns when both agree, when the provider lets go, or, by
/// anybody's call, after the channel's end: a year from when it was opened or last topped up, which the client can bring
/// forward to one exit delay from now. Until the channel is closed a voucher can be redeemed, so a provider that looks
/// once in that delay loses nothing.
/// docs/protocol/channels.md has the state diagram and the rules of the road.
/// @dev One word per (client, provider, owner), never cleared: from the top `until` (40 bits, zero when closed),
/// generation (24), deposit (96), redeemed (96). Vouchers name the generation, so none outlives its channel, and to open
/// again changes a word where a new one would cost four times as much. An open channel holds its deposit less what was
/// redeemed, and the fee of what was redeemed, one percent, until that is burned at the close: so a redemption writes one
/// word less.
abstract contract Channels is EscrowAccounts {
    bytes32 private constant VOUCHER_TYPEHASH =
        keccak256("Voucher(bytes32 channelId,uint128 cumulative,uint64 count,bytes32 dealsRoot)");
    bytes32 private constant CLOSE_TYPEHASH =
        keccak256("ChannelClose(bytes32 channelId,uint128 cumulative,uint64 count,bytes32 dealsRoot)");
    /// @dev One percent of what was redeemed is burned.
    uint256 private constant CHANNEL_FEE_DIVISOR = 100;
    uint256 private constant AMOUNT_MASK = type(uint96).max;
    uint256 private constant GENERATION_MASK = type(uint24).max;

    /// @dev One word; a struct, so that a pointer to it can be passed and its place is hashed once.
    struct Kept {
        uint256 word;
    }

    mapping(bytes32 pair => Kept) private _channels;

    /// @notice A channel was opened or topped up: `word` is all there is of it now, `until << 216 | generation << 192 |
    /// deposit << 96 | redeemed`.
    event ChannelFunded(address client, address indexed provider, address clientOwner, uint256 word);
    /// @notice What was paid is `cumulative` less that of the redemption before.
    event VoucherRedeemed(bytes32 indexed channelId, uint256 cumulative, uint256 count, bytes32 dealsRoot);
    /// @notice Its client wants to leave: after `until` anybody may close it.
    event ChannelClosing(bytes32 indexed channelId, uint256 until);
    /// @notice It is over: `redeemed` in all, `returned` to the client's owner, the fee `burned`.
    event ChannelClosed(bytes32 indexed channelId, uint256 redeemed, uint256 returned, uint256 burned);

    /// @notice Only the channel's provider may do this.
    error NotChannelProvider(address caller, address provider);
    /// @notice Only the channel's client or its owner may do this.
    error NotChannelClient(address caller, address client);
    /// @notice Only one of the two parties may do this.
    error NotChannelParty(address caller);
    /// @notice There is no such channel, or it is closed, or it has been opened again since.
    error ChannelNotOpen(bytes32 channelId);
    /// @notice Both sides of a channel belong to one owner.
    error SelfChannel(address owner);
    /// @notice Nothing is left to redeem by this voucher.
    error StaleVoucher(uint256 cumulative, uint256 redeemed);
    /// @notice More than the deposit.
    error Overdrawn(uint256 cumulative, uint256 deposit);
    /// @notice Until then only the provider may close it.
    error ChannelStillOpen(uint256 until);
    /// @notice It ends sooner already.
    error AlreadyClosing(uint256 until);

    // --- the client --------------------------------------------------------------------------------------------------

    /// @notice Lock `amount` of the free balance of the caller's owner for `provider`: opens a channel, or adds to the open
    /// one, which may be zero. The caller will sign the vouchers. The channel ends a year from now, also when it was closing.
    function fundChannel(uint256 amount, address provider) external {
        address owner = ownerOf(msg.sender);
        Kept storage kept = _channels[keccak256(abi.encode(msg.sender, provider, owner))];
        uint256 word = kept.word;
        uint256 generation = _generationOf(word);
        uint256 deposit = amount;
        uint256 redeemed;
        if (_untilOf(word) == 0) {
            require(generation < GENERATION_MASK, EscrowFull(generation, GENERATION_MASK));
            unchecked {
                ++generation;
            }
        } else {
            deposit += _depositOf(word);
            redeemed = _redeemedOf(word);
        }
        require(deposit <= AMOUNT_MASK, EscrowFull(deposit, AMOUNT_MASK));
        word = _packed(block.timestamp + LONGEST, generation, deposit, redeemed);
        kept.word = word;
        _debit(owner, amount);
        emit ChannelFunded(msg.sender, provider, owner, word);
    }

    /// @notice Bring the channel's end forward to one exit delay from now. Its client, or the owner whose money it holds:
    /// so a lost node key keeps no money.
    function requestClose(Channel calldata channel) external {
        require(
            msg.sender == channel.client || msg.sender == channel.clientOwner,
            NotChannelClient(msg.sender, channel.client)
        );
        (bytes32 channelId, Kept storage kept, uint256 word) = _opened(channel);
        uint256 until = block.timestamp + WITHDRAW_DELAY;
        require(until < _untilOf(word), AlreadyClosing(_untilOf(word)));
        kept.word = _packed(until, _generationOf(word), _depositOf(word), _redeemedOf(word));
        emit ChannelClosing(channelId, until);
    }

    // --- the provider ------------------------------------------------------------------------------------------------

    /// @notice Be paid what the client's voucher adds to what was redeemed before. Only the provider's operator; the money
    /// goes to its owner.
    function redeem(Channel calldata channel, Earned calldata voucher) external {
        address owner = ownerOf(msg.sender);
        _credit(owner, _redeem(channel, voucher, owner), 0);
    }

    /// @notice Redeem vouchers of several channels. All or none.
    function redeemMany(Redemption[] calldata redemptions) external {
        address owner = ownerOf(msg.sender);
        uint256 net;
        for (uint256 i = 0; i < redemptions.length; ++i) {
            net += _redeem(redemptions[i].channel, redemptions[i].voucher, owner);
        }
        _credit(owner, net, 0);
    }

    // --- the end -----------------------------------------------------------------------------------------------------

    /// @notice Both end the channel now. One sends, the other has signed `ChannelClose` with these numbers: what the
    /// provider has earned in all.
    function closeTogether(Channel calldata channel, Earned calldata last) external {
        bool byClient = msg.sender == channel.client;
        require(byClient || msg.sender == channel.provider, NotChannelParty(msg.sender));
        (bytes32 channelId, Kept storage kept, uint256 word) = _opened(channel);
        uint256 redeemed = _redeemedOf(word);
        require(last.cumulative >= redeemed, StaleVoucher(last.cumulative, redeemed));
        _requireEarned(CLOSE_TYPEHASH, channelId, last, byClient ? channel.provider : channel.client);
        if (last.cumulative > redeemed) {
            address owner = ownerOf(channel.provider);
            uint256 net;
            (word, net) = _earn(channel.clientOwner, owner, channelId, word, last);
            _credit(owner, net, 0);
        }
        _closeChannel(channel, channelId, kept, word);
    }

    /// @notice Return what was not redeemed and burn the fee of what was. The provider may at any time, for the wait
    /// protects nobody else; anyone may after the channel's end.
    function close(Channel calldata channel) external {
        (bytes32 channelId, Kept storage kept, uint256 word) = _opened(channel);
        uint256 until = _untilOf(word);
        require(block.timestamp > until || msg.sender == channel.provider, ChannelStillOpen(until));
        _closeChannel(channel, channelId, kept, word);
    }

    // --- views -------------------------------------------------------------------------------------------------------

    /// @notice The channel of these three: its end (zero: closed, or never opened), which opening it is, what that was given
    /// and what of it has been redeemed, in all.
    function channelOf(address client, address provider, address clientOwner)
        external
        view
        returns (uint40 until, uint24 generation, uint96 deposit, uint96 redeemed)
    {
        uint256 word = _channels[keccak256(abi.encode(client, provider, clientOwner))].word;
        return (
            uint40(_untilOf(word)), uint24(_generationOf(word)), uint96(_depositOf(word)), uint96(_redeemedOf(word))
        );
    }

    // --- inside ------------------------------------------------------------------------------------------------------

    /// @dev What the voucher adds, less the fee. The caller credits it to `owner`, the sender's.
    function _redeem(Channel calldata channel, Earned calldata voucher, address owner) private returns (uint256 net) {
        require(msg.sender == channel.provider, NotChannelProvider(msg.sender, channel.provider));
        (bytes32 channelId, Kept storage kept, uint256 word) = _opened(channel);
        require(voucher.cumulative > _redeemedOf(word), StaleVoucher(voucher.cumulative, _redeemedOf(word)));
        _requireEarned(VOUCHER_TYPEHASH, channelId, voucher, channel.client);
        (kept.word, net) = _earn(channel.clientOwner, owner, channelId, word, voucher);
    }

    /// @dev The channel's word with more redeemed, and what of the difference is the provider's. The fee is that of the
    /// whole less that of what was redeemed before, so that many redemptions burn to the wei what one would.
    function _earn(address clientOwner, address owner, bytes32 channelId, uint256 word, Earned calldata earned)
        private
        returns (uint256 changed, uint256 net)
    {
        require(owner != clientOwner, SelfChannel(owner));
        uint256 cumulative = earned.cumulative;
        require(cumulative <= _depositOf(word), Overdrawn(cumulative, _depositOf(word)));
        uint256 redeemed = _redeemedOf(word);
        // What was redeemed lies in the lowest bits, and the deposit keeps the sum within them.
        changed = word + (cumulative - redeemed);
        net = (cumulative - _feeOf(cumulative)) - (redeemed - _feeOf(redeemed));
        emit VoucherRedeemed(channelId, cumulative, earned.count, earned.dealsRoot);
    }

    function _closeChannel(Channel calldata channel, bytes32 channelId, Kept storage kept, uint256 word) private {
        uint256 deposit = _depositOf(word);
        uint256 redeemed = _redeemedOf(word);
        kept.word = _packed(0, _generationOf(word), deposit, redeemed);
        _credit(channel.clientOwner, deposit - redeemed, 0);
        _burnLater(_feeOf(redeemed));
        emit ChannelClosed(channelId, redeemed, deposit - redeemed, _feeOf(redeemed));
    }

    function _feeOf(uint256 redeemed) private pure returns (uint256) {
        return redeemed / CHANNEL_FEE_DIVISOR;
    }

    /// @dev The channel's id, where its word is kept, and the word, if it is open.
    function _opened(Channel calldata channel)
        private
        view
        returns (bytes32 channelId, Kept storage kept, uint256 word)
    {
        channelId = keccak256(abi.encode(channel));
        kept = _channels[keccak256(abi.encode(channel.client, channel.provider, channel.clientOwner))];
        word = kept.word;
        require(_untilOf(word) != 0 && _generationOf(word) == channel.generation, ChannelNotOpen(channelId));
    }

    /// @dev `signer` has signed these numbers for this channel, in the domain of this escrow on this chain.
    function _requireEarned(bytes32 typehash, bytes32 channelId, Earned calldata earned, address signer) private view {
        bytes32 structHash =
            keccak256(abi.encode(typehash, channelId, earned.cumulative, earned.count, earned.dealsRoot));
        _requireSigned(signer, _hashTypedDataV4(structHash), earned.r, earned.vs);
    }

    /// @dev Callers bound the amounts to 96 bits, the generation to 24 and the time to 40.
    function _packed(uint256 until, uint256 generation, uint256 deposit, uint256 redeemed)
        private
        pure
        returns (uint256)
    {
        return (until << 216) | (generation << 192) | (deposit << 96) | redeemed;
    }

    function _untilOf(uint256 word) private pure returns (uint256) {
        return word >> 216;
    }

    function _generationOf(uint256 word) private pure returns (uint256) {
        return (word >> 192) & GENERATION_MASK;
    }

    function _depositOf(uint256 word) private pure returns (uint256) {
        return (word >> 96) & AMOUNT_MASK;
    }

    function _redeemedOf(uint256 word) private pure returns (uint256) {
        return word & AMOUNT_MASK;
    }
}
