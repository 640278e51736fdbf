// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title What is the network's own token?
/// @notice An ERC-20 with Permit (deposit in one transaction), a cap on its supply and one minter, both fixed at
/// deployment. Nobody can pause it, freeze an account, or replace the minter. Burned tokens make room under the cap,
/// so that a minter which pays out part of the burned fees never runs dry.
contract MeshToken is ERC20, ERC20Burnable, ERC20Capped, ERC20Permit {
    /// @notice The only account that may mint: an emissions contract, or the deployer's key on a devnet.
    address public immutable MINTER;

    error NotMinter(address caller, address minter);
    error ZeroMinter();

    /// @param name_ Name, also that of the EIP-712 domain of permits.
    /// @param symbol_ Ticker.
    /// @param cap_ Most tokens, in wei, that exist at any time.
    /// @param minter_ The only account that may mint, for good.
    constructor(string memory name_, string memory symbol_, uint256 cap_, address minter_)
        ERC20(name_, symbol_)
        ERC20Capped(cap_)
        ERC20Permit(name_)
    {
        require(minter_ != address(0), ZeroMinter());
        MINTER = minter_;
    }

    /// @notice Create `amount` wei for `to`, under the cap.
    function mint(address to, uint256 amount) external {
        require(msg.sender == MINTER, NotMinter(msg.sender, MINTER));
        _mint(to, amount);
    }

    /// @dev Both ERC20 and ERC20Capped define it; the cap's version calls the other.
    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Capped) {
        super._update(from, to, value);
    }
}
