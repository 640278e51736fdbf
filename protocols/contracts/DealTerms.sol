// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The terms both parties sign: 26 static words, numbers at full width because `_checkTerms` bounds each of them
/// by name. The signed types, narrower, stand in `DEAL_TYPEHASH`. `gpusHash` is EIP-712's encoding of the signed member
/// `bytes32[] gpus`, the hash of its concatenated elements; so the calldata is the preimage of the digest.
struct Deal {
    address client;
    address provider;
    address token;
    uint256 runNonce;
    uint256 index;
    bytes32 jobId;
    bytes32 image;
    bytes32 gpusHash;
    uint256 price;
    uint256 metering;
    uint256 collateral;
    uint256 level;
    bytes32 levelParams;
    bytes32 numericClass;
    uint256 enforcement;
    uint256 auditPpm;
    uint256 seatFee;
    uint256 seatClass;
    uint256 seatSnapshot;
    bytes32 clientSecretHash;
    bytes32 providerSecretHash;
    uint256 commitBy;
    uint256 execSeconds;
    uint256 claimSeconds;
    uint256 windowSeconds;
    uint256 settlement;
}

/// @notice What one escrow accepts, for good.
struct Bounds {
    uint128 maxPrice;
    /// `commitBy` lies at most this far ahead.
    uint32 maxCommitLead;
    uint32 maxExec;
    uint32 minClaim;
    uint32 maxClaim;
    /// A window lasts at least `windowBase + windowExecFactor * execSeconds`: long enough to run the job again.
    uint32 windowBase;
    uint32 windowExecFactor;
    uint32 maxWindow;
    uint32 withdrawDelay;
    uint32 unstakeDelay;
}

/// @title Which terms may a deal have?
/// @notice Range checks of every signed number, against bounds fixed at deployment. `protocols/deals/terms.py` makes the
/// same checks in the same order with the same field names; a test holds the two together.
abstract contract DealTerms {
    bytes32 internal constant DEAL_TYPEHASH = keccak256(
        "Deal(address client,address provider,address token,uint64 runNonce,uint32 index,bytes32 jobId,bytes32 image,"
        "bytes32[] gpus,uint128 price,uint8 metering,uint128 collateral,uint8 level,bytes32 levelParams,"
        "bytes32 numericClass,uint8 enforcement,uint32 auditPpm,uint128 seatFee,uint32 seatClass,uint64 seatSnapshot,"
        "bytes32 clientSecretHash,bytes32 providerSecretHash,uint64 commitBy,uint32 execSeconds,uint32 claimSeconds,"
        "uint32 windowSeconds,uint8 settlement)"
    );
    uint256 private constant DEAL_BYTES = 26 * 32;

    uint8 private constant METERING_FIXED = 0;
    uint8 private constant METERING_FUEL = 2;
    uint8 private constant LEVEL_EXACT = 1;
    uint8 private constant LEVEL_PERCEPTUAL = 4;
    uint8 private constant LEVEL_REPLICATE = 5;
    uint8 private constant ENFORCEMENT_PANEL = 1;
    uint256 private constant PPM = 1_000_000;
    /// @dev Under a panel a cheat must expect to lose more than it saves: docs/protocol/escrow.md, "Panel deals".
    uint256 private constant MIN_PANEL_COLLATERAL_FACTOR = 8;
    /// @dev A seat that works must earn more than the work costs, 1.2 prices, and not enough to live on disputes.
    uint256 private constant MAX_SEAT_FEE_FACTOR = 3;
    /// @dev What a convicted provider's collateral pays for beside what is burned: two prices to the client, a fee to each
    /// of three seats. What the terms promise, the collateral must be able to pay.
    uint256 internal constant BOUNTY_FACTOR = 2;
    uint256 private constant FIRST_SEATS = 3;
    /// @dev More collateral than this many prices protects nobody and makes a slip of the keyboard ruinous.
    uint256 private constant MAX_COLLATERAL_FACTOR = 100;
    /// @dev Keeps every sum of amounts far below 2**120: a price and 100 times it, over any number of open deals that
    /// the deposits can back.
    uint256 private constant PRICE_CEILING = 1 << 96;
    /// @dev No bound of an escrow is longer than this, so a typing slip at deployment cannot lock money for decades.
    uint256 internal constant LONGEST = 365 days;

    uint128 private immutable MAX_PRICE;
    uint32 private immutable MAX_COMMIT_LEAD;
    uint32 private immutable MAX_EXEC;
    uint32 private immutable MIN_CLAIM;
    uint32 private immutable MAX_CLAIM;
    uint32 private immutable WINDOW_BASE;
    uint32 private immutable WINDOW_EXEC_FACTOR;
    uint32 private immutable MAX_WINDOW;
    uint32 internal immutable WITHDRAW_DELAY;
    uint32 internal immutable UNSTAKE_DELAY;

    /// @notice A signed term lies outside what this escrow accepts. `field` is its name in ASCII.
    error BadTerm(bytes32 field, uint256 given, uint256 least, uint256 most);
    /// @notice The bounds given at deployment contradict each other or lie outside what makes sense.
    error BadBounds(bytes32 field, uint256 given, uint256 least, uint256 most);

    /// @notice Refuses bounds under which no deal could be made or none would end.
    constructor(Bounds memory b) {
        _bound("maxPrice", b.maxPrice, 1, PRICE_CEILING);
        _bound("maxCommitLead", b.maxCommitLead, 1, LONGEST);
        _bound("maxExec", b.maxExec, 1, LONGEST);
        _bound("maxClaim", b.maxClaim, 1, LONGEST);
        _bound("minClaim", b.minClaim, 1, b.maxClaim);
        _bound("maxWindow", b.maxWindow, 1, LONGEST);
        _bound("windowExecFactor", b.windowExecFactor, 0, 16);
        // The longest job must still have a window it can sign.
        _bound("windowBase", b.windowBase, 1, b.maxWindow);
        _bound("maxExec", uint256(b.windowExecFactor) * b.maxExec, 0, b.maxWindow - b.windowBase);
        _bound("withdrawDelay", b.withdrawDelay, 1, LONGEST);
        _bound("unstakeDelay", b.unstakeDelay, 1, LONGEST);
        MAX_PRICE = b.maxPrice;
        MAX_COMMIT_LEAD = b.maxCommitLead;
        MAX_EXEC = b.maxExec;
        MIN_CLAIM = b.minClaim;
        MAX_CLAIM = b.maxClaim;
        WINDOW_BASE = b.windowBase;
        WINDOW_EXEC_FACTOR = b.windowExecFactor;
        MAX_WINDOW = b.maxWindow;
        WITHDRAW_DELAY = b.withdrawDelay;
        UNSTAKE_DELAY = b.unstakeDelay;
    }

    /// @notice The bounds this escrow was deployed with.
    function bounds() external view returns (Bounds memory) {
        return Bounds({
            maxPrice: MAX_PRICE,
            maxCommitLead: MAX_COMMIT_LEAD,
            maxExec: MAX_EXEC,
            minClaim: MIN_CLAIM,
            maxClaim: MAX_CLAIM,
            windowBase: WINDOW_BASE,
            windowExecFactor: WINDOW_EXEC_FACTOR,
            maxWindow: MAX_WINDOW,
            withdrawDelay: WITHDRAW_DELAY,
            unstakeDelay: UNSTAKE_DELAY
        });
    }

    /// @dev Reverts with the first term out of range. Balances and signatures are checked by the caller.
    /// @param panel Whether this escrow has one.
    function _checkTerms(Deal calldata d, address token, bool panel) internal view {
        // Token and client have no range; the one value they may have, or must not have, stands in all three places.
        require(d.token == token, BadTerm("token", uint160(d.token), uint160(token), uint160(token)));
        require(d.client != d.provider, BadTerm("client", uint160(d.client), 0, 0));
        _within("runNonce", d.runNonce, 0, type(uint64).max);
        _within("index", d.index, 0, type(uint32).max);
        _checkModes(d, panel);
        uint256 metering = d.metering;
        if (metering != METERING_FUEL) _within("metering", metering, METERING_FIXED, METERING_FIXED);
        _within("level", d.level, 0, LEVEL_REPLICATE);
        uint256 price = d.price;
        _within("price", price, 1, MAX_PRICE);
        _within("collateral", d.collateral, 0, MAX_COLLATERAL_FACTOR * price);
        _within("auditPpm", d.auditPpm, 0, PPM);
        _within("commitBy", d.commitBy, block.timestamp, block.timestamp + MAX_COMMIT_LEAD);
        uint256 execSeconds = d.execSeconds;
        _within("execSeconds", execSeconds, 1, MAX_EXEC);
        _within("claimSeconds", d.claimSeconds, MIN_CLAIM, MAX_CLAIM);
        _within("windowSeconds", d.windowSeconds, WINDOW_BASE + WINDOW_EXEC_FACTOR * execSeconds, MAX_WINDOW);
        if (d.enforcement == ENFORCEMENT_PANEL) _checkPanelTerms(d, price);
    }

    /// @dev A deal of a channel is never committed, and without a panel its terms mean nothing: a term without a meaning
    /// is refused, not ignored. All five are zero in the common case, so one look is enough.
    function _checkModes(Deal calldata d, bool panel) private pure {
        uint256 any = d.settlement | d.enforcement | d.seatFee | d.seatClass | d.seatSnapshot;
        if (any == 0) return;
        _within("settlement", d.settlement, 0, 0);
        _within("enforcement", d.enforcement, 0, panel ? ENFORCEMENT_PANEL : 0);
        if (d.enforcement == ENFORCEMENT_PANEL) return;
        _within("seatFee", d.seatFee, 0, 0);
        _within("seatClass", d.seatClass, 0, 0);
        _within("seatSnapshot", d.seatSnapshot, 0, 0);
    }

    /// @dev What a panel must be able to rely on. Price, window and times have passed already.
    function _checkPanelTerms(Deal calldata d, uint256 price) private pure {
        _within("level", d.level, LEVEL_EXACT, LEVEL_PERCEPTUAL);
        _within(
            "collateral", d.collateral, MIN_PANEL_COLLATERAL_FACTOR * price, MAX_COLLATERAL_FACTOR * price
        );
        uint256 seatFee = d.seatFee;
        // At least 1.2 prices, rounded up.
        _within("seatFee", seatFee, (6 * price + 4) / 5, MAX_SEAT_FEE_FACTOR * price);
        uint256 promised = BOUNTY_FACTOR * price + FIRST_SEATS * seatFee;
        _within("collateral", d.collateral, promised, MAX_COLLATERAL_FACTOR * price);
        _within("seatClass", d.seatClass, 1, type(uint32).max);
        _within("seatSnapshot", d.seatSnapshot, 1, type(uint64).max);
        uint256 clients = uint256(d.clientSecretHash);
        uint256 providers = uint256(d.providerSecretHash);
        _within("clientSecretHash", clients, 1, type(uint256).max);
        _within("providerSecretHash", providers, 1, type(uint256).max);
        // A copied hash would leave the seed of the draw to one side; the value it must not have stands in all places.
        require(clients != providers, BadTerm("providerSecretHash", providers, clients, clients));
    }

    /// @dev Hashes the calldata words as they stand: dirty upper bits give another hash, which nobody signed.
    function _dealStructHash(Deal calldata d) internal pure returns (bytes32 structHash) {
        bytes32 typehash = DEAL_TYPEHASH;
        uint256 size = DEAL_BYTES;
        assembly ("memory-safe") {
            let words := mload(0x40)
            mstore(words, typehash)
            calldatacopy(add(words, 32), d, size)
            structHash := keccak256(words, add(size, 32))
        }
    }

    function _within(bytes32 field, uint256 given, uint256 least, uint256 most) internal pure {
        require(given >= least && given <= most, BadTerm(field, given, least, most));
    }

    function _bound(bytes32 field, uint256 given, uint256 least, uint256 most) private pure {
        require(given >= least && given <= most, BadBounds(field, given, least, most));
    }
}
