// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {DealTerms} from "./DealTerms.sol";
import {IMediatorPanel} from "./IMediatorPanel.sol";
import {IMeshEscrow} from "./IMeshEscrow.sol";

/// @notice A token that its holder can destroy.
interface IBurnable {
    /// @notice Destroy `amount` of the caller's tokens.
    function burn(uint256 amount) external;
}

/// @title Whose money is in the escrow, and how does it come in and leave?
/// @notice One account per owner: a free balance, from which deals are paid, and a stake, from which collateral is
/// locked. Both leave only to the owner and only after a delay. An owner names operators, the keys of its nodes; an
/// address that has no owner is its own. Nobody else has any power over an account.
abstract contract EscrowAccounts is IMeshEscrow, DealTerms, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev One slot. `open` is set for good by the first credit, so the slot never falls back to zero and no later
    /// call pays for a fresh one.
    struct Account {
        uint128 free;
        uint120 stake;
        bool open;
    }

    /// @dev One slot. Money on its way out; a new request adds to it and starts the delay again.
    struct Exit {
        uint128 amount;
        uint64 readyAt;
    }

    /// @dev One slot. `nonce` counts changes, so an old consent cannot be used again.
    struct Operator {
        address owner;
        uint64 nonce;
    }

    bytes32 private constant CONSENT_TYPEHASH =
        keccak256("OperatorConsent(address owner,address operator,uint64 nonce)");
    /// @dev Where fees go when the token itself cannot burn.
    address private constant DEAD = 0x000000000000000000000000000000000000dEaD;

    /// @notice The only token of this escrow.
    IERC20 public immutable TOKEN;
    /// @notice Whether fees are burned by the token's own `burn`, or sent where nobody can spend them.
    bool public immutable TOKEN_BURNS;
    /// @notice The contract that may open and close disputes; zero: this escrow accepts no panel deals.
    address public immutable PANEL;

    mapping(address owner => Account) private _accounts;
    mapping(address owner => Exit) private _withdrawals;
    mapping(address owner => Exit) private _unstakes;
    mapping(address operator => Operator) private _operators;
    /// @dev Fees and penalties to burn, plus one: the slot never empties, so no settlement pays for a fresh one.
    uint256 private _burnablePlusOne = 1;

    /// @notice `amount` has arrived for `owner`, sent by `from`, and is free.
    event Deposited(address indexed owner, address indexed from, uint256 amount);
    /// @notice `amount` of the free balance is stake from now on.
    event Staked(address indexed owner, uint256 amount);
    /// @notice `total` of the free balance waits for its exit, possible from `readyAt`.
    event WithdrawRequested(address indexed owner, uint256 total, uint256 readyAt);
    /// @notice `amount` has left for the owner's address.
    event Withdrawn(address indexed owner, uint256 amount);
    /// @notice `total` of the stake waits for its exit, possible from `readyAt`.
    event UnstakeRequested(address indexed owner, uint256 total, uint256 readyAt);
    /// @notice `amount` of stake is free again.
    event Unstaked(address indexed owner, uint256 amount);
    /// @notice `owner` is zero when the operator stands for itself again.
    event OperatorSet(address indexed operator, address indexed owner);
    /// @notice `amount` of fees, penalties and slashes was destroyed.
    event FeesBurned(uint256 amount);
    /// @notice `amount` of the free balance is in the owner's account at the panel.
    event PanelFunded(address indexed owner, uint256 amount);

    /// @notice An address is needed.
    error ZeroAddress();
    /// @notice An amount is needed.
    error ZeroAmount();
    /// @notice The owner's free balance does not cover it.
    error InsufficientFree(address owner, uint256 has, uint256 needs);
    /// @notice The owner's stake that no deal holds does not cover it.
    error InsufficientStake(address owner, uint256 has, uint256 needs);
    /// @notice More than a slot of this escrow can count.
    error EscrowFull(uint256 would, uint256 most);
    /// @notice No exit was asked for.
    error NothingRequested(address owner);
    /// @notice The delay of the exit is not over.
    error NotReady(uint256 readyAt);
    /// @notice The signature is not that of `wanted`, but of `recovered`, zero where it is of nobody.
    error BadSignature(address wanted, address recovered);
    /// @notice Only the operator itself or its owner may part them.
    error NotOwnerNorOperator(address caller, address operator);
    /// @notice This escrow was deployed without a panel.
    error NoPanel();

    /// @notice Fixed for good: the token, whether it burns, and the panel.
    constructor(IERC20 token, bool tokenBurns, address panel) {
        require(address(token) != address(0), ZeroAddress());
        TOKEN = token;
        TOKEN_BURNS = tokenBurns;
        PANEL = panel;
    }

    // --- money in ----------------------------------------------------------------------------------------------------

    /// @notice Add to the free balance of the caller's account (its owner's, when the caller is an operator).
    function deposit(uint256 amount) external {
        _deposit(ownerOf(msg.sender), amount);
    }

    /// @notice Add to the free balance of `owner`, paid by the caller.
    function depositFor(address owner, uint256 amount) external {
        require(owner != address(0), ZeroAddress());
        _deposit(owner, amount);
    }

    /// @notice Deposit with an EIP-2612 permit in one transaction. A permit that somebody else has already submitted
    /// does no harm: its allowance is there.
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        try IERC20Permit(address(TOKEN)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _deposit(ownerOf(msg.sender), amount);
    }

    /// @notice Move from the caller's free balance to its stake.
    function stake(uint120 amount) external {
        require(amount != 0, ZeroAmount());
        _debit(msg.sender, amount);
        _accounts[msg.sender].stake += amount;
        emit Staked(msg.sender, amount);
    }

    // --- money out ---------------------------------------------------------------------------------------------------

    /// @notice Take `amount` out of the free balance; `withdraw` pays it out after the delay. No deal can be paid from
    /// it any more. A second request adds to the first and starts the delay again.
    function requestWithdraw(uint128 amount) external {
        require(amount != 0, ZeroAmount());
        _debit(msg.sender, amount);
        (uint256 total, uint256 readyAt) = _request(_withdrawals[msg.sender], amount, WITHDRAW_DELAY);
        emit WithdrawRequested(msg.sender, total, readyAt);
    }

    /// @notice Pay out what was requested, to its owner.
    function withdraw() external nonReentrant {
        uint256 amount = _release(_withdrawals[msg.sender]);
        emit Withdrawn(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    /// @notice Take `amount` out of the stake; `unstake` pays it out after the delay. No collateral is locked from it
    /// any more, but it stays in the escrow, within reach of a verdict, until it is out.
    function requestUnstake(uint120 amount) external {
        require(amount != 0, ZeroAmount());
        Account storage account = _accounts[msg.sender];
        uint120 staked = account.stake;
        require(staked >= amount, InsufficientStake(msg.sender, staked, amount));
        account.stake = staked - amount;
        (uint256 total, uint256 readyAt) = _request(_unstakes[msg.sender], amount, UNSTAKE_DELAY);
        emit UnstakeRequested(msg.sender, total, readyAt);
    }

    /// @notice Pay out the stake whose delay is over, to its owner.
    function unstake() external nonReentrant {
        uint256 amount = _release(_unstakes[msg.sender]);
        emit Unstaked(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    /// @notice Send `amount` of the free balance of the caller's owner to the panel, which counts it as that owner's: for
    /// bonds and seats. It comes back by the panel's `depositFor`, so the exit delay still lies before it.
    function fundPanel(uint128 amount) external nonReentrant {
        require(PANEL != address(0), NoPanel());
        require(amount != 0, ZeroAmount());
        address owner = ownerOf(msg.sender);
        _debit(owner, amount);
        emit PanelFunded(owner, amount);
        TOKEN.safeTransfer(PANEL, amount);
        IMediatorPanel(PANEL).onFunded(owner, amount);
    }

    /// @notice Burn what has accumulated. Anyone may.
    function burnFees() external nonReentrant {
        uint256 amount = _burnablePlusOne - 1;
        require(amount != 0, ZeroAmount());
        _burnablePlusOne = 1;
        emit FeesBurned(amount);
        if (TOKEN_BURNS) IBurnable(address(TOKEN)).burn(amount);
        else TOKEN.safeTransfer(DEAD, amount);
    }

    // --- operators ---------------------------------------------------------------------------------------------------

    /// @notice Let `operator` trade on the caller's account. It has signed `OperatorConsent(caller, operator, nonce)`
    /// with `consentNonce(operator)`; without that anybody could divert a stranger's earnings to itself. Deals that are
    /// already committed keep the accounts they were committed with.
    /// @param r First half of the consent's signature.
    /// @param vs Second half in compact form (EIP-2098).
    function setOperator(address operator, bytes32 r, bytes32 vs) external {
        uint64 nonce = _operators[operator].nonce;
        bytes32 structHash = keccak256(abi.encode(CONSENT_TYPEHASH, msg.sender, operator, nonce));
        _requireSigned(operator, _hashTypedDataV4(structHash), r, vs);
        _operators[operator] = Operator({owner: msg.sender, nonce: nonce + 1});
        emit OperatorSet(operator, msg.sender);
    }

    /// @notice Let `operator` stand for itself again. Its owner may, and so may the operator.
    function removeOperator(address operator) external {
        Operator memory entry = _operators[operator];
        require(
            entry.owner != address(0) && (msg.sender == entry.owner || msg.sender == operator),
            NotOwnerNorOperator(msg.sender, operator)
        );
        _operators[operator] = Operator({owner: address(0), nonce: entry.nonce + 1});
        emit OperatorSet(operator, address(0));
    }

    // --- views -------------------------------------------------------------------------------------------------------

    /// @notice Whose money `operator` trades with: its owner's, or its own.
    function ownerOf(address operator) public view returns (address) {
        address owner = _operators[operator].owner;
        return owner == address(0) ? operator : owner;
    }

    /// @notice The nonce that the next consent of `operator` must carry.
    function consentNonce(address operator) external view returns (uint64) {
        return _operators[operator].nonce;
    }

    /// @notice What an owner can pay deals from, and lock as collateral.
    function accountOf(address owner) external view returns (uint128 free, uint128 staked) {
        Account memory account = _accounts[owner];
        return (account.free, account.stake);
    }

    /// @notice Money of `owner` on its way out.
    function exitsOf(address owner)
        external
        view
        returns (uint128 withdrawing, uint64 withdrawReadyAt, uint128 unstaking, uint64 unstakeReadyAt)
    {
        Exit memory w = _withdrawals[owner];
        Exit memory u = _unstakes[owner];
        return (w.amount, w.readyAt, u.amount, u.readyAt);
    }

    /// @notice Fees and penalties that `burnFees` would burn now.
    function burnable() external view returns (uint256) {
        return _burnablePlusOne - 1;
    }

    /// @notice EIP-712 domain separator of everything signed for this escrow.
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    // --- for deals and channels --------------------------------------------------------------------------------------

    /// @dev Take a price from one owner's free balance and a collateral from another's stake.
    function _lock(address clientOwner, uint256 price, address providerOwner, uint256 collateral) internal {
        _debit(clientOwner, price);
        if (collateral == 0) return;
        Account storage provider = _accounts[providerOwner];
        uint120 staked = provider.stake;
        require(staked >= collateral, InsufficientStake(providerOwner, staked, collateral));
        // The comparison bounds the cast.
        provider.stake = staked - uint120(collateral);
    }

    /// @dev Take `amount` from an owner's free balance.
    function _debit(address owner, uint256 amount) internal {
        Account storage account = _accounts[owner];
        uint128 free = account.free;
        require(free >= amount, InsufficientFree(owner, free, amount));
        // `free` lies in the lowest bits of the slot, and the comparison keeps the subtraction within it. The compiler would
        // load the slot again.
        assembly ("memory-safe") {
            sstore(account.slot, sub(sload(account.slot), amount))
        }
    }

    /// @dev Credit an account: one read and one write of its slot, none when there is nothing to credit.
    function _credit(address owner, uint256 toFree, uint256 toStake) internal {
        if (toFree == 0 && toStake == 0) return;
        Account storage account = _accounts[owner];
        // Both casts are safe: everything credited was deposited, and deposits end at 2**120.
        if (toFree != 0) account.free += uint128(toFree);
        if (toStake != 0) account.stake += uint120(toStake);
        if (!account.open) account.open = true;
    }

    /// @dev Set `amount` aside for `burnFees`.
    function _burnLater(uint256 amount) internal {
        if (amount != 0) _burnablePlusOne += amount;
    }

    /// @dev Reverts unless `signer` signed `digest`. Rejects high-s and zero signers (OpenZeppelin's ECDSA).
    function _requireSigned(address signer, bytes32 digest, bytes32 r, bytes32 vs) internal pure {
        (address recovered,,) = ECDSA.tryRecover(digest, r, vs);
        require(recovered == signer && signer != address(0), BadSignature(signer, recovered));
    }

    /// @dev Credits what really arrived, so a token that takes a fee on transfer harms only its depositor.
    function _deposit(address owner, uint256 amount) private nonReentrant {
        require(amount != 0, ZeroAmount());
        uint256 before = TOKEN.balanceOf(address(this));
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        uint256 held = TOKEN.balanceOf(address(this));
        require(held <= type(uint120).max, EscrowFull(held, type(uint120).max));
        uint256 received = held - before;
        _credit(owner, received, 0);
        emit Deposited(owner, msg.sender, received);
    }

    function _request(Exit storage exit, uint128 amount, uint256 delay) private returns (uint256, uint256) {
        uint128 total = exit.amount + amount;
        uint64 readyAt = uint64(block.timestamp + delay);
        exit.amount = total;
        exit.readyAt = readyAt;
        return (total, readyAt);
    }

    function _release(Exit storage exit) private returns (uint256 amount) {
        amount = exit.amount;
        require(amount != 0, NothingRequested(msg.sender));
        require(block.timestamp >= exit.readyAt, NotReady(exit.readyAt));
        exit.amount = 0;
        exit.readyAt = 0;
    }
}
