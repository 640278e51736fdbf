// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Payout} from "./IMeshEscrow.sol";
import {Row} from "./PanelTypes.sol";

/// @notice What a row is computed from.
struct Stakes {
    uint256 price;
    uint256 collateral;
    /// One seat's fee.
    uint256 fee;
    /// How many seats of the first panel are in the majority.
    uint256 paid;
    /// Whether any panel of the dispute had one.
    bool hadMajority;
}

/// @notice How the panel divides the bond and what the escrow has sent.
struct Shares {
    uint256 funder;
    uint256 provider;
    uint256 seats;
    uint256 burned;
}

/// @title Where does the money of a dispute go?
/// @notice Eight rows. The `Payout` divides price and collateral, the `Shares` the bond and `toPanel`; both add up.
/// `protocols/disputes/payouts.py` is the same in Python.
library PanelRows {
    uint256 internal constant FIRST_SEATS = 3;
    uint256 internal constant APPEAL_SEATS = 7;
    uint256 private constant BOUNTY_PRICES = 2;

    /// @notice One seat's fee: as signed. The escrow commits no deal whose collateral could not pay it after the bounty;
    /// the panel does not rely on that, or a dispute could have no end.
    function feeOf(uint256 seatFee, uint256 price, uint256 collateral) internal pure returns (uint256) {
        uint256 bounty = BOUNTY_PRICES * price;
        uint256 most = collateral > bounty ? (collateral - bounty) / FIRST_SEATS : 0;
        return seatFee < most ? seatFee : most;
    }

    /// @notice What the disputer puts up: kF + P/2.
    function bondOf(uint256 fee, uint256 price) internal pure returns (uint256) {
        return FIRST_SEATS * fee + price / 2;
    }

    function amounts(Row row, Stakes memory s) internal pure returns (Payout memory p, Shares memory own) {
        uint256 bond = bondOf(s.fee, s.price);
        uint256 fees = FIRST_SEATS * s.fee;
        uint256 seats = s.paid * s.fee;
        if (row == Row.FORFEIT || row == Row.CONVICTED || row == Row.LOST) {
            own.funder = bond;
            own.seats = row == Row.FORFEIT ? 0 : seats;
            p.toPanel = own.seats;
            p.toClient = row == Row.LOST ? s.price : s.price + BOUNTY_PRICES * s.price;
            // After a first tolerance failure the provider keeps what is beyond one price and the fees.
            if (row == Row.LOST) p.toStake = s.collateral - s.price - fees;
            p.burned = s.price + s.collateral - p.toClient - p.toStake - p.toPanel;
        } else if (row == Row.BLAMELESS || row == Row.UNPROVEN) {
            // Nobody is to blame: each side pays half of the fees, the provider the odd one.
            uint256 half = fees / 2;
            if (row == Row.BLAMELESS) p.toClient = s.price;
            else p.toProvider = s.price;
            p.toStake = s.collateral - (fees - half);
            p.toPanel = fees - half;
            own.funder = bond - half;
            own.seats = seats;
            own.burned = fees - seats;
        } else {
            p.toStake = s.collateral;
            if (row == Row.VOID) p.toClient = s.price;
            else p.toProvider = s.price;
            if (row == Row.ACQUITTED) {
                own.provider = bond - fees;
                own.seats = seats;
                own.burned = fees - seats;
            } else if (row == Row.VOID && s.hadMajority) {
                own.funder = bond;
            } else {
                own.burned = bond;
            }
        }
    }
}
