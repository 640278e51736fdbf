// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PanelHandler} from "./PanelHandler.sol";
import {Phase, Row} from "../../../protocols/contracts/PanelTypes.sol";
import {FuzzSelector} from "./Vm.sol";

/// @title Does the panel keep its promises whatever is called, in whatever order?
/// @notice The invariants that docs/protocol/disputes.md names, against the committed bytecode of escrow and panel.
contract PanelInvariants {
    PanelHandler private _handler;

    function setUp() external {
        _handler = new PanelHandler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory all = new bytes4[](4);
        all[0] = PanelHandler.dispute.selector;
        all[1] = PanelHandler.act.selector;
        all[2] = PanelHandler.wait.selector;
        all[3] = PanelHandler.comeOrGo.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector({addr: address(_handler), selectors: all});
    }

    /// @dev Masks as `PanelHandler.act` makes them likelier: all agree, with the provider or without.
    function _walk(uint256 mask, Row ends, Phase in_) private {
        _handler.dispute(0, 0, 0, 0, false);
        for (uint256 step; step < 6; ++step) _handler.act(0, 1, mask, 0);
        _handler.endAll();
        (Phase phase, Row row) = _handler.rowOfFirst();
        require(phase == in_ && row == ends, "the walk ended elsewhere");
        require(_handler.TOKEN().balanceOf(address(_handler.PANEL())) == _handler.owed(), "held and owed differ");
    }

    /// @notice The steps that forge shuffles do lead somewhere: here to a conviction.
    function test_theStepsConvict() external {
        _walk(0x21, Row.CONVICTED, Phase.SLASHED);
    }

    function test_theStepsAcquit() external {
        _walk(0x01, Row.ACQUITTED, Phase.SETTLED);
    }

    /// @notice I1: what the panel holds is what it owes, to the wei. A payout row that does not sum to zero breaks it.
    function invariant_whatIsHeldIsWhatIsOwed() external view {
        require(_handler.TOKEN().balanceOf(address(_handler.PANEL())) == _handler.owed(), "held and owed differ");
    }

    /// @notice I5: a seat's lock is backed by its bond, and falls with the disputes that hold it.
    function invariant_seatsAreSound() external view {
        require(_handler.seatsAreSound(), "a seat has promised what it has not, or is bound to nothing");
    }

    function invariant_noRuleWasBrokenOnTheWay() external view {
        require(bytes(_handler.broken()).length == 0, _handler.broken());
    }

    /// @notice I3: after every sequence, time and anybody end what is open; and all money is still there.
    function afterInvariant() external {
        _handler.endAll();
        require(_handler.TOKEN().balanceOf(address(_handler.PANEL())) == _handler.owed(), "held and owed differ at the end");
        require(_handler.seatsAreSound(), "a seat is bound to nothing at the end");
    }
}
