// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Lock} from "./IMeshEscrow.sol";

/// @notice Where a dispute stands. Numbers of all enumerations are those of `protocols/disputes/states.py`.
enum Phase {
    NONE,
    DISPUTED,
    DRAWN,
    COMMITTING,
    OPENING,
    REVEALING,
    MATCHING,
    VERDICT,
    APPEALED,
    SETTLED,
    SLASHED,
    VOID
}

/// @notice What the client says: the bytes are wrong, or it never had them.
enum Reason {
    WRONG,
    WITHHELD
}

/// @notice Who is right, or who deposits. NEITHER is right after a split.
enum Side {
    CLIENT,
    PROVIDER,
    NEITHER
}

/// @notice Where a seat stands in its panel. From ACCEPTED to MATCHED its lock is held.
enum Stage {
    VACANT,
    CALLED,
    ACCEPTED,
    NO_INPUT,
    COMMITTED,
    REVEALED,
    MATCHED,
    LOST
}

/// @notice What a panel found.
enum Outcome {
    SPLIT,
    ACQUITTED,
    GUILTY,
    NO_INPUTS,
    NO_OUTPUTS
}

/// @notice How the money goes; `PanelRows` has the amounts.
enum Row {
    FORFEIT,
    CONVICTED,
    LOST,
    BLAMELESS,
    ACQUITTED,
    UNPROVEN,
    UNSERVED,
    VOID
}

/// @notice What one panel accepts and how long it waits, for good. Seconds of block time, and one amount.
struct PanelBounds {
    uint32 secret;
    uint32 accept;
    /// Added to it is twice the deal's execution time.
    uint32 work;
    uint32 open;
    uint32 reveal;
    uint32 match_;
    uint32 appeal;
    uint32 seatAge;
    uint32 resign;
    uint128 seatBond;
}

/// @notice One seat: an equal bond in a class. `bond` is what is left of it, `locked` what its open disputes hold.
struct Seat {
    address owner;
    uint40 joinedAt;
    /// When what is left can be taken out; zero: the seat is not leaving.
    uint40 outAt;
    address operator;
    uint128 bond;
    uint128 locked;
}

/// @notice One place in a panel, and the seat that has it now.
struct Turn {
    uint64 seat;
    Stage stage;
    /// Whether the provider's bytes arrived; said at the reveal.
    bool served;
    /// Whom the seat matches: bits 0..6 its own panel, 7 the provider, 8..10 the first panel's seats.
    uint16 mask;
    bytes32 commitment;
}

/// @notice One panel: of 3, or on appeal of 7.
struct Round {
    bytes32 seed;
    /// The revealed salts, folded together whatever their order.
    bytes32 salts;
    /// How many places of the shuffled pool have been looked at.
    uint64 cursor;
    uint8 size;
    /// How often absent seats have been replaced.
    uint8 waves;
    uint16 providerMask;
    bool providerMatched;
    /// It has found, and not split.
    bool hadMajority;
    Turn[7] turns;
    /// The shuffle: seat plus one, wherever it differs from the place.
    mapping(uint256 place => uint256 seatPlusOne) swaps;
    mapping(uint256 seat => bool) called;
}

/// @notice What the last panel found: places in bits, of the last panel and of the first when there have been two.
struct Finding {
    Outcome outcome;
    uint8 clique;
    uint8 firsts;
}

/// @notice Everything about one dispute.
struct Dispute {
    Phase phase;
    Reason reason;
    /// 0: the first panel. 1: that of the appeal.
    uint8 round;
    /// The client's DeliveryReceipt has been shown.
    bool delivered;
    uint8 level;
    /// Of the provider's result plus one; zero until it is opened.
    uint8 outcomePlusOne;
    Row row;
    uint40 until;
    uint40 openedAt;
    uint32 execSeconds;
    uint32 seatClass;
    Finding finding;
    uint64 pool;
    uint128 fee;
    address funder;
    /// Who has deposited for the client and for the provider; zero: nobody yet.
    address[2] depositors;
    bytes32 resultHash;
    bytes32 clientSecret;
    bytes32 providerSecretHash;
    Lock lock;
    Round[2] rounds;
}

/// @notice A `ResultCommit` as the provider opens it: the salted root in its two parts, the rest as signed.
struct Opening {
    bytes32 salt;
    bytes32 root;
    uint256 outcome;
    int256 exitCode;
    uint256 fuel;
    uint256 wallMs;
    bytes32 logHead;
}
