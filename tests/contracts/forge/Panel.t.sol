// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PanelHandler} from "./PanelHandler.sol";

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
