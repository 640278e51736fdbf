// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Finding, Outcome} from "./PanelTypes.sol";

/// @title What has a panel found?
/// @notice Guilty only if a majority of seats match each other and the provider does not match them. An edge counts when
/// both ends have published it. `protocols/disputes/verdict.py` is the same in Python.
library PanelCliques {
    uint256 private constant PROVIDER_BIT = 1 << 7;
    uint256 private constant FIRSTS_SHIFT = 8;

    /// @notice More than half of those who are there, and never one alone.
    function majority(uint256 present) internal pure returns (uint256) {
        uint256 most = present / 2 + 1;
        return most < 2 ? 2 : most;
    }

    /// @param masks What each place has published, 0 for nothing.
    /// @param present How many seats have revealed.
    /// @param providerMask What the provider has published.
    /// @param revealedFirsts Places of the first panel that have revealed, in bits; 0 when this is the first.
    function judge(uint256[] memory masks, uint256 present, uint256 providerMask, uint256 revealedFirsts)
        internal
        pure
        returns (Finding memory finding)
    {
        (uint256[] memory edges, uint256 toProvider) = _edges(masks, providerMask);
        uint256 least = majority(present);
        bool acquitted;
        for (uint256 group = 1; group < 1 << masks.length; ++group) {
            (bool found, uint256 common) = _clique(group, least, edges, masks);
            if (!found) continue;
            finding.clique |= uint8(group);
            // All of this majority match what such a seat of the first panel has revealed.
            finding.firsts |= uint8((common >> FIRSTS_SHIFT) & revealedFirsts);
            if (group & ~toProvider == 0) acquitted = true;
        }
        if (finding.clique == 0) return finding;
        finding.outcome = acquitted ? Outcome.ACQUITTED : Outcome.GUILTY;
    }

    /// @dev Per place, those that it matches and that match it; and those that match the provider and it them.
    function _edges(uint256[] memory masks, uint256 providerMask)
        private
        pure
        returns (uint256[] memory edges, uint256 toProvider)
    {
        uint256 n = masks.length;
        edges = new uint256[](n);
        for (uint256 i; i < n; ++i) {
            for (uint256 j; j < n; ++j) {
                if (i != j && (masks[i] >> j) & 1 == 1 && (masks[j] >> i) & 1 == 1) edges[i] |= 1 << j;
            }
            if (masks[i] & PROVIDER_BIT != 0 && (providerMask >> i) & 1 == 1) toProvider |= 1 << i;
        }
    }

    /// @dev Are the members of `group` enough, and do all match each other? `common`: the bits that all have published.
    function _clique(uint256 group, uint256 least, uint256[] memory edges, uint256[] memory masks)
        private
        pure
        returns (bool, uint256 common)
    {
        uint256 members;
        common = type(uint256).max;
        for (uint256 i; i < edges.length; ++i) {
            if ((group >> i) & 1 == 0) continue;
            ++members;
            common &= masks[i];
            if (group & ~(1 << i) & ~edges[i] != 0) return (false, 0);
        }
        return (members >= least, common);
    }
}
