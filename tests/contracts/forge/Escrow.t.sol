// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowHandler} from "./EscrowHandler.sol";
import {FuzzSelector} from "./Vm.sol";

/// @title Does the escrow keep its promises whatever is called, in whatever order?
/// @notice The invariants that docs/protocol/escrow.md names, against the committed bytecode.
contract EscrowInvariants {
    EscrowHandler private _handler;

    function setUp() external {
        _handler = new EscrowHandler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    /// @notice All but `pull` and `onFunded`, which are not for strangers.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory all = new bytes4[](15);
        all[0] = EscrowHandler.deposit.selector;
        all[1] = EscrowHandler.stake.selector;
        all[2] = EscrowHandler.fundPanel.selector;
        all[3] = EscrowHandler.leave.selector;
        all[4] = EscrowHandler.burn.selector;
        all[5] = EscrowHandler.mint.selector;
        all[6] = EscrowHandler.commit.selector;
        all[7] = EscrowHandler.claim.selector;
        all[8] = EscrowHandler.settle.selector;
        all[9] = EscrowHandler.disputeAndClose.selector;
        all[10] = EscrowHandler.openDispute.selector;
        all[11] = EscrowHandler.end.selector;
        all[12] = EscrowHandler.open.selector;
        all[13] = EscrowHandler.redeem.selector;
        all[14] = EscrowHandler.close.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector({addr: address(_handler), selectors: all});
    }

    /// @notice I1: what the escrow holds is what it owes, to the wei.
    function invariant_whatIsHeldIsWhatIsOwed() external view {
        require(_handler.TOKEN().balanceOf(address(_handler.ESCROW())) == _handler.owed(), "held and owed differ");
    }

    /// @notice I3, I6, I7, I9 and the panel's limits, as the handler met them.
    function invariant_noRuleWasBrokenOnTheWay() external view {
        require(bytes(_handler.broken()).length == 0, _handler.broken());
    }

    /// @notice I4: who signs nothing loses nothing.
    function invariant_aBystanderLosesNothing() external view {
        (uint128 free, uint128 staked) = _handler.bystander();
        require(free == 10 ** 23 - 10 ** 22 && staked == 10 ** 22, "a bystander's account has changed");
    }

    /// @notice I8: the token keeps its schedule, and burning makes no room.
    function invariant_theTokenKeepsItsSchedule() external view {
        uint256 minted = _handler.TOKEN().minted();
        require(minted <= _handler.TOKEN().scheduled(block.timestamp), "ahead of the schedule");
        require(_handler.TOKEN().totalSupply() <= minted, "more tokens than were made");
    }
}
