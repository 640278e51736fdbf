// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title What is the network's own token?
/// @notice An ERC-20 with Permit (deposit in one transaction) and one minter, fixed at deployment, that can never have made
/// more tokens than a schedule in this code allows: 85 % of the cap from the first day, the other 15 % by a curve of which
/// half is out after six years, half of the rest after six more. Burned tokens make no room. Nobody can pause it, freeze an
/// account, or replace the minter. docs/protocol/escrow.md, "The token".
contract MeshToken is ERC20, ERC20Burnable, ERC20Permit {
    /// @dev Parts of the cap that are emitted over time: 150 M of 1,000 M.
    uint256 private constant EMITTED_PERCENT = 15;
    /// @dev 2**128 * 2**(-1 / 2190), rounded down: what a day leaves of what is not out yet. 2190 days are six years.
    uint256 private constant DAY_FACTOR = 340174682701417803094384544003384441574;
    /// @dev Keeps a product with a factor of 128 bits within a word.
    uint256 private constant LARGEST_EMISSION = 1 << 120;

    /// @notice The only account that may mint: an emissions contract, or the deployer's key on a devnet.
    address public immutable MINTER;
    /// @notice Most tokens, in wei, that are ever made.
    uint256 public immutable CAP;
    /// @notice When the curve starts: the block time of the deployment.
    uint256 public immutable START;
    /// @notice Tokens made so far, burned ones included.
    uint256 public minted;

    /// @notice Only the minter may make tokens.
    error NotMinter(address caller, address minter);
    /// @notice A minter is needed.
    error ZeroMinter();
    /// @notice The emission would overflow the schedule's arithmetic.
    error CapTooLarge(uint256 emission, uint256 most);
    /// @notice `would` is more than the schedule allows to have been made by now.
    error AheadOfSchedule(uint256 would, uint256 allowed);

    /// @param name_ Name, also that of the EIP-712 domain of permits.
    /// @param symbol_ Ticker.
    /// @param cap_ Most tokens, in wei, that are ever made.
    /// @param minter_ The only account that may mint, for good.
    constructor(string memory name_, string memory symbol_, uint256 cap_, address minter_)
        ERC20(name_, symbol_)
        ERC20Permit(name_)
    {
        require(minter_ != address(0), ZeroMinter());
        uint256 emission = cap_ / 100 * EMITTED_PERCENT;
        require(emission <= LARGEST_EMISSION, CapTooLarge(emission, LARGEST_EMISSION));
        MINTER = minter_;
        CAP = cap_;
        START = block.timestamp;
    }

    /// @notice Create `amount` wei for `to`, within the schedule.
    function mint(address to, uint256 amount) external {
        require(msg.sender == MINTER, NotMinter(msg.sender, MINTER));
        uint256 would = minted + amount;
        uint256 allowed = scheduled(block.timestamp);
        require(would <= allowed, AheadOfSchedule(would, allowed));
        minted = would;
        _mint(to, amount);
    }

    /// @notice Most tokens that may have been made at a time: constant through each day of the chain, never less than
    /// before, and equal to a formula in integers, so that anybody can compute every day's share to the wei.
    function scheduled(uint256 time) public view returns (uint256) {
        if (time < START) return 0;
        uint256 emission = CAP / 100 * EMITTED_PERCENT;
        // Rounded so that what is left is never too little.
        uint256 left = (emission * _power((time - START) / 1 days) + type(uint128).max) >> 128;
        return CAP - left;
    }

    /// @dev 2**128 * (DAY_FACTOR / 2**128)**exponent by squaring, each product rounded down.
    function _power(uint256 exponent) private pure returns (uint256 result) {
        result = 1 << 128;
        uint256 base = DAY_FACTOR;
        for (; exponent != 0 && result != 0; exponent >>= 1) {
            if (exponent & 1 == 1) result = (result * base) >> 128;
            base = (base * base) >> 128;
        }
    }
}
