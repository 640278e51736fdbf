// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Which cheat codes do the tests use?
/// @notice Those of forge that we call, declared here: the library that usually declares them is not on npm.
interface Vm {
    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function prank(address sender) external;
    function warp(uint256 time) external;
    function getCode(string calldata path) external view returns (bytes memory);
    function assume(bool holds) external pure;
}

/// @notice Which functions of a contract forge calls in a random order.
struct FuzzSelector {
    address addr;
    bytes4[] selectors;
}

/// @title What has every test?
abstract contract Base {
    Vm internal constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev Deploys the committed bytecode of `name` with `arguments`.
    function _deploy(string memory name, bytes memory arguments) internal returns (address made) {
        bytes memory code = abi.encodePacked(
            VM.getCode(string.concat("protocols/contracts/artifacts/", name, ".json")), arguments
        );
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
        }
        require(made != address(0), "the committed bytecode does not deploy");
    }

    /// @dev A signature in compact form (EIP-2098).
    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes32 r, bytes32 vs) {
        uint8 v;
        bytes32 s;
        (v, r, s) = VM.sign(key, digest);
        vs = bytes32((uint256(v - 27) << 255) | uint256(s));
    }

    function _within(uint256 seed, uint256 least, uint256 most) internal pure returns (uint256) {
        return least + seed % (most - least + 1);
    }
}
