// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bounds, Deal, DealTerms} from "../../../protocols/contracts/DealTerms.sol";
import {Payout} from "../../../protocols/contracts/IMeshEscrow.sol";
import {PanelRows, Shares, Stakes} from "../../../protocols/contracts/PanelRows.sol";
import {Row} from "../../../protocols/contracts/PanelTypes.sol";
import {Base} from "./Vm.sol";

/// @title Does every payout row sum to zero, for all numbers?
/// @notice halmos proves what a `check_` function asserts for every argument that its assumptions admit.
contract RowsSymbolic is Base {
    uint256 private constant PRICE_CEILING = 1 << 96;

    function _stakes(uint256 price, uint256 collateral, uint256 fee, uint256 paid, bool hadMajority)
        private
        pure
        returns (Stakes memory)
    {
        VM.assume(price >= 1 && price <= PRICE_CEILING);
        VM.assume(5 * fee >= 6 * price && fee <= 3 * price);
        VM.assume(collateral >= 8 * price && collateral >= 2 * price + 3 * fee && collateral <= 100 * price);
        VM.assume(paid <= 3);
        return Stakes({price: price, collateral: collateral, fee: fee, paid: paid, hadMajority: hadMajority});
    }

    function _sumsToZero(Row row, Stakes memory s) private pure {
        (Payout memory p, Shares memory own) = PanelRows.amounts(row, s);
        assert(p.toClient + p.toProvider + p.toStake + p.toPanel + p.burned == s.price + s.collateral);
        uint256 bond = 3 * s.fee + s.price / 2;
        assert(own.funder + own.provider + own.seats + own.burned == bond + p.toPanel);
        assert(own.seats == 0 || own.seats == s.paid * s.fee);
    }

    /// @notice Guilty, silent, or failed at a tolerance level: the client is whole, the collateral pays for it.
    function check_aProviderThatLoses(uint256 price, uint256 collateral, uint256 fee, uint256 paid, bool majority)
        external
        pure
    {
        Stakes memory s = _stakes(price, collateral, fee, paid, majority);
        _sumsToZero(Row.FORFEIT, s);
        _sumsToZero(Row.CONVICTED, s);
        _sumsToZero(Row.LOST, s);
        (Payout memory p, Shares memory own) = PanelRows.amounts(Row.CONVICTED, s);
        assert(p.toClient == 3 * price && p.toProvider == 0 && p.toStake == 0 && own.funder == 3 * fee + price / 2);
    }

    /// @notice Acquitted, unserved, or nobody to blame: the provider is paid, or has its own back.
    function check_aProviderThatDoesNot(uint256 price, uint256 collateral, uint256 fee, uint256 paid, bool majority)
        external
        pure
    {
        Stakes memory s = _stakes(price, collateral, fee, paid, majority);
        _sumsToZero(Row.BLAMELESS, s);
        _sumsToZero(Row.ACQUITTED, s);
        _sumsToZero(Row.UNPROVEN, s);
        _sumsToZero(Row.UNSERVED, s);
        (Payout memory p, Shares memory own) = PanelRows.amounts(Row.ACQUITTED, s);
        assert(p.toProvider == price && p.toStake == collateral && own.provider == price / 2 && own.funder == 0);
    }

    function check_aDisputeThatComesToNothing(
        uint256 price,
        uint256 collateral,
        uint256 fee,
        uint256 paid,
        bool majority
    ) external pure {
        Stakes memory s = _stakes(price, collateral, fee, paid, majority);
        _sumsToZero(Row.VOID, s);
        (Payout memory p,) = PanelRows.amounts(Row.VOID, s);
        assert(p.toClient == price && p.toStake == collateral && p.toPanel == 0);
    }
}

/// @title Does the escrow accept only terms within their ranges, for all 26 words?
contract TermsSymbolic is Base, DealTerms {
    uint256 private constant MAX_PRICE = 1 << 96;
    uint256 private constant WINDOW_BASE = 30 hours;
    address private constant TOKEN = address(0x70);

    constructor()
        DealTerms(
            Bounds(uint128(MAX_PRICE), 7 days, 14 days, 48 hours, 14 days, uint32(WINDOW_BASE), 2, 60 days, 3 days, 14 days)
        )
    {}

    function accept(Deal calldata d, bool panel) external view {
        _checkTerms(d, TOKEN, panel);
    }

    function check_acceptedTermsAreInRange(Deal calldata d, bool panel) external view {
        try this.accept(d, panel) {}
        catch {
            return;
        }
        assert(d.token == TOKEN && d.client != d.provider);
        assert(d.runNonce <= type(uint64).max && d.index <= type(uint32).max);
        assert(d.settlement == 0 && (d.enforcement == 0 || (d.enforcement == 1 && panel)));
        assert(d.metering == 0 || d.metering == 2);
        assert(d.level <= 5 && d.auditPpm <= 1_000_000);
        assert(d.price >= 1 && d.price <= MAX_PRICE && d.collateral <= 100 * d.price);
        assert(d.commitBy >= block.timestamp && d.commitBy <= block.timestamp + 7 days);
        assert(d.execSeconds >= 1 && d.execSeconds <= 14 days);
        assert(d.claimSeconds >= 48 hours && d.claimSeconds <= 14 days);
        assert(d.windowSeconds >= WINDOW_BASE + 2 * d.execSeconds && d.windowSeconds <= 60 days);
    }

    function check_aPanelDealCanPayWhatItPromises(Deal calldata d) external view {
        try this.accept(d, true) {}
        catch {
            return;
        }
        if (d.enforcement == 0) {
            assert(d.seatFee == 0 && d.seatClass == 0 && d.seatSnapshot == 0);
            return;
        }
        assert(d.collateral >= 2 * d.price + 3 * d.seatFee && d.collateral >= 8 * d.price);
        assert(d.seatFee >= (6 * d.price + 4) / 5 && d.seatFee <= 3 * d.price);
        assert(d.level >= 1 && d.level <= 4);
        assert(d.seatClass >= 1 && d.seatClass <= type(uint32).max);
        assert(d.seatSnapshot >= 1 && d.seatSnapshot <= type(uint64).max);
        assert(d.clientSecretHash != d.providerSecretHash && d.clientSecretHash != 0 && d.providerSecretHash != 0);
    }
}
