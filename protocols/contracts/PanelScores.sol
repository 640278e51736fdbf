// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Deal} from "./DealTerms.sol";
import {IMeshEscrow, Lock, State} from "./IMeshEscrow.sol";

/// @title Has a provider failed too often at a level where honest results may differ?
/// @notice Wald's sequential test in integers, one score per (owner of the provider, level). A failure adds, a settled
/// deal takes off in proportion to how likely it was to be audited. `protocols/disputes/tolerance.py` has the reasons.
/// The panel deploys it and is the only one that can add.
contract PanelScores {
    /// @notice A provider's owner at one level: 9,159 takes all of a collateral.
    struct Score {
        uint64 score;
        uint40 failedAt;
    }

    uint256 private constant FAILURE = 3_219;
    uint256 private constant DEAL = 673;
    uint256 private constant LIMIT = 9_159;
    uint256 private constant PPM = 1_000_000;
    uint256 private constant ENFORCEMENT_PANEL = 1;
    uint256 private constant LEVEL_NUMERIC = 3;
    uint256 private constant LEVEL_PERCEPTUAL = 4;

    IMeshEscrow public immutable ESCROW;
    address public immutable PANEL;

    mapping(address owner => mapping(uint256 level => Score)) private _scores;
    mapping(bytes32 dealId => bool) private _credited;

    /// @notice By a failure, or by a settled deal that was credited.
    event ScoreChanged(address indexed providerOwner, uint256 level, uint256 score);

    /// @notice Only the panel may add.
    error NotPanel(address caller);
    /// @notice Terms, Lock and what the escrow holds are not of one deal.
    error WrongDeal(bytes32 dealId);
    /// @notice Not a deal of a tolerance level that a panel judges.
    error NoPanelDeal();
    /// @notice Not settled, settled before the last failure, or credited already.
    error NoCredit();

    /// @notice By the panel, for its escrow.
    constructor(IMeshEscrow escrow) {
        ESCROW = escrow;
        PANEL = msg.sender;
    }

    /// @notice One more failure. Only the panel.
    /// @return takesAll Whether it takes all of C.
    function failed(address providerOwner, uint256 level) external returns (bool takesAll) {
        require(msg.sender == PANEL, NotPanel(msg.sender));
        Score storage s = _scores[providerOwner][level];
        uint256 score = s.score + FAILURE;
        if (score > LIMIT) score = LIMIT;
        s.score = uint64(score);
        s.failedAt = uint40(block.timestamp);
        emit ScoreChanged(providerOwner, level, score);
        return score == LIMIT;
    }

    /// @notice A panel deal at a tolerance level was settled after its provider's last failure: the score comes down, once
    /// per deal. Anyone may call; the provider has reason to.
    /// @param resultHash What was claimed; zero when nothing was.
    function creditSettled(Deal calldata deal, Lock calldata lock, bytes32 resultHash) external {
        bytes32 dealId = lock.dealId;
        require(ESCROW.dealIdOf(deal) == dealId, WrongDeal(dealId));
        bool tolerant = deal.level == LEVEL_NUMERIC || deal.level == LEVEL_PERCEPTUAL;
        require(deal.enforcement == ENFORCEMENT_PANEL && tolerant, NoPanelDeal());
        (State state, uint40 since, bytes26 identity) =
            ESCROW.slotOf(address(bytes20(lock.run)), uint64(uint256(lock.run) >> 32), uint32(uint256(lock.run)));
        bytes32 whole = keccak256(abi.encode(lock));
        if (resultHash != 0) whole = keccak256(abi.encode(whole, resultHash));
        require(identity == bytes26(whole), WrongDeal(dealId));
        Score storage s = _scores[lock.providerOwner][deal.level];
        require(state == State.SETTLED && since > s.failedAt && !_credited[dealId], NoCredit());
        _credited[dealId] = true;
        uint256 off = DEAL * deal.auditPpm / PPM;
        s.score = uint64(off < s.score ? s.score - off : 0);
        emit ScoreChanged(lock.providerOwner, deal.level, s.score);
    }

    /// @notice The score, and when its last failure was.
    function scoreOf(address providerOwner, uint256 level) external view returns (uint256 score, uint256 failedAt) {
        Score memory s = _scores[providerOwner][level];
        return (s.score, s.failedAt);
    }
}
