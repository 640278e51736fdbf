// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IMediatorPanel} from "./IMediatorPanel.sol";
import {IMeshEscrow, Lock} from "./IMeshEscrow.sol";
import {PanelBounds, Seat} from "./PanelTypes.sol";

/// @notice A token that its holder can destroy.
interface IBurns {
    /// @notice Destroy `amount` of the caller's tokens.
    function burn(uint256 amount) external;
}

/// @title Whose money is in the panel, and who can be called to a dispute?
/// @notice One account per owner, filled from the escrow (`fundPanel`) and emptied back into it (`withdraw`). From it come
/// seats, bonds and deposits. A seat is an equal bond in a class; seats are numbered in the order in which they joined, and
/// no number is given twice, so a count of seats in a signed deal is a snapshot.
abstract contract PanelSeats is IMediatorPanel {
    using SafeERC20 for IERC20;

    /// @dev No wait is longer, so that a typing slip at deployment cannot lock money for decades.
    uint256 private constant LONGEST = 60 days;
    /// @dev Where what is burned goes when the token itself cannot burn.
    address private constant DEAD = 0x000000000000000000000000000000000000dEaD;
    /// @dev What a seat locks when it accepts, in prices.
    uint256 private constant LOCK_PRICES = 3;

    IMeshEscrow private immutable _ESCROW;
    IERC20 public immutable TOKEN;
    bool public immutable TOKEN_BURNS;

    uint32 internal immutable SECRET;
    uint32 internal immutable ACCEPT;
    uint32 internal immutable WORK;
    uint32 internal immutable OPEN;
    uint32 internal immutable REVEAL;
    uint32 internal immutable MATCH;
    uint32 internal immutable APPEAL;
    uint32 private immutable SEAT_AGE;
    uint32 private immutable RESIGN;
    uint128 private immutable SEAT_BOND;

    mapping(address owner => uint256) private _accounts;
    mapping(uint256 seatClass => Seat[]) private _seats;
    uint256 public burnable;

    /// @notice `amount` has come from the escrow into the owner's account here.
    event Funded(address indexed owner, uint256 amount);
    /// @notice `amount` has gone back to the owner's free balance in the escrow.
    event Withdrawn(address indexed owner, uint256 amount);
    /// @notice `amount` of lost locks and of fees and bonds that nobody gets was destroyed.
    event Burned(uint256 amount);
    /// @notice A seat with a whole bond; it can be called once it is old enough.
    event SeatJoined(uint256 indexed seatClass, uint256 indexed seat, address indexed operator, address owner);
    /// @notice It is called no more, and its bond can be taken out from `outAt`.
    event SeatLeaving(uint256 indexed seatClass, uint256 indexed seat, uint256 outAt);
    /// @notice What was left of its bond is in the owner's account.
    event SeatRetired(uint256 indexed seatClass, uint256 indexed seat, uint256 amount);
    /// @notice Burned, and the seat leaves its class: its bond no longer equals the others'.
    event LockLost(uint256 indexed seatClass, uint256 indexed seat, uint256 amount);

    /// @notice A panel with this bound would not work.
    error BadBounds(bytes32 field, uint256 given, uint256 least, uint256 most);
    /// @notice Only the panel's own escrow may do this.
    error NotEscrow(address caller);
    /// @notice The owner's account here does not cover it.
    error InsufficientAccount(address owner, uint256 has, uint256 needs);
    /// @notice Nothing waits to be destroyed.
    error NothingToBurn();
    /// @notice Classes count from 1.
    error NoClass();
    /// @notice The class has only so many seats.
    error NoSeat(uint256 seats);
    /// @notice Only the seat's operator or its owner may do this.
    error NotYourSeat(address caller);
    /// @notice It leaves already, at `outAt`.
    error AlreadyLeaving(uint256 outAt);
    /// @notice It must ask to leave first.
    error NotLeaving();
    /// @notice A dispute still holds a lock on its bond.
    error SeatBusy();
    /// @notice Possible from `notBefore` on.
    error TooEarly(uint256 notBefore);

    /// @notice Refuses bounds under which a dispute could not be held.
    constructor(address escrow, IERC20 token, bool tokenBurns, PanelBounds memory b) {
        _bound("secret", b.secret, 1, LONGEST);
        _bound("accept", b.accept, 1, LONGEST);
        _bound("work", b.work, 1, LONGEST);
        _bound("open", b.open, 1, LONGEST);
        _bound("reveal", b.reveal, 1, LONGEST);
        _bound("match", b.match_, 1, LONGEST);
        _bound("appeal", b.appeal, 1, LONGEST);
        _bound("seatAge", b.seatAge, 0, LONGEST);
        _bound("resign", b.resign, 1, LONGEST);
        _bound("seatBond", b.seatBond, 1, 1 << 110);
        _ESCROW = IMeshEscrow(escrow);
        TOKEN = token;
        TOKEN_BURNS = tokenBurns;
        SECRET = b.secret;
        ACCEPT = b.accept;
        WORK = b.work;
        OPEN = b.open;
        REVEAL = b.reveal;
        MATCH = b.match_;
        APPEAL = b.appeal;
        SEAT_AGE = b.seatAge;
        RESIGN = b.resign;
        SEAT_BOND = b.seatBond;
        // For `withdraw`: the escrow takes tokens only from its caller, and only inside a call of this contract.
        token.forceApprove(escrow, type(uint256).max);
    }

    // --- accounts ----------------------------------------------------------------------------------------------------

    /// @inheritdoc IMediatorPanel
    function ESCROW() external view returns (address) {
        return address(_ESCROW);
    }

    /// @inheritdoc IMediatorPanel
    function onFunded(address owner, uint256 amount) external {
        require(msg.sender == address(_ESCROW), NotEscrow(msg.sender));
        _credit(owner, amount);
        emit Funded(owner, amount);
    }

    /// @notice Move from the caller's account (its owner's, when the caller is an operator) to that owner's free balance
    /// in the escrow.
    function withdraw(uint256 amount) external {
        address owner = _ESCROW.ownerOf(msg.sender);
        _take(owner, amount);
        emit Withdrawn(owner, amount);
        _ESCROW.depositFor(owner, amount);
    }

    /// @notice Burn what has accumulated: lost locks, and fees that no seat has earned. Anyone may.
    function burn() external {
        uint256 amount = burnable;
        require(amount != 0, NothingToBurn());
        burnable = 0;
        emit Burned(amount);
        if (TOKEN_BURNS) IBurns(address(TOKEN)).burn(amount);
        else TOKEN.safeTransfer(DEAD, amount);
    }

    // --- seats -------------------------------------------------------------------------------------------------------

    /// @notice Put up a bond, from the account of the caller's owner, for one more seat. The caller is its operator.
    /// @return seat Its number in the class.
    function join(uint32 seatClass) external returns (uint256 seat) {
        require(seatClass != 0, NoClass());
        address owner = _ESCROW.ownerOf(msg.sender);
        _take(owner, SEAT_BOND);
        seat = _seats[seatClass].length;
        _seats[seatClass].push(
            Seat({
                owner: owner,
                joinedAt: uint40(block.timestamp),
                outAt: 0,
                operator: msg.sender,
                bond: SEAT_BOND,
                locked: 0
            })
        );
        emit SeatJoined(seatClass, seat, msg.sender, owner);
    }

    /// @notice Be called no more; what has begun goes on. Its owner may, and so may its operator.
    function resign(uint32 seatClass, uint256 seat) external {
        Seat storage s = _seat(seatClass, seat);
        require(msg.sender == s.owner || msg.sender == s.operator, NotYourSeat(msg.sender));
        require(s.outAt == 0, AlreadyLeaving(s.outAt));
        _leave(s, seatClass, seat);
    }

    /// @notice What is left of a seat goes to its owner's account, once it has left and sits in no dispute. Anyone may.
    function retire(uint32 seatClass, uint256 seat) external {
        Seat storage s = _seat(seatClass, seat);
        uint256 amount = s.bond;
        require(s.outAt != 0 && amount != 0, NotLeaving());
        require(block.timestamp >= s.outAt, TooEarly(s.outAt));
        require(s.locked == 0, SeatBusy());
        s.bond = 0;
        _credit(s.owner, amount);
        emit SeatRetired(seatClass, seat, amount);
    }

    // --- views -------------------------------------------------------------------------------------------------------

    /// @notice What this panel waits for, and what a seat's bond is, for good.
    function bounds() external view returns (PanelBounds memory) {
        return PanelBounds({
            secret: SECRET,
            accept: ACCEPT,
            work: WORK,
            open: OPEN,
            reveal: REVEAL,
            match_: MATCH,
            appeal: APPEAL,
            seatAge: SEAT_AGE,
            resign: RESIGN,
            seatBond: SEAT_BOND
        });
    }

    /// @notice What an owner has here beside the bonds of its seats.
    function accountOf(address owner) external view returns (uint256) {
        return _accounts[owner];
    }

    /// @notice How many seats a class has ever had: the largest snapshot that a deal can name.
    function seatCount(uint32 seatClass) external view returns (uint256) {
        return _seats[seatClass].length;
    }

    /// @notice One seat, whether it can be called or not.
    function seatOf(uint32 seatClass, uint256 seat) external view returns (Seat memory) {
        return _seat(seatClass, seat);
    }

    /// @notice How many seats could be called if a dispute of this deal began now. Who signs should ask for 30 at least.
    function eligibleSeats(Lock calldata lock, uint32 seatClass, uint256 snapshot) external view returns (uint256 n) {
        Lock memory copy = lock;
        uint256 most = _pool(seatClass, snapshot);
        for (uint256 seat; seat < most; ++seat) {
            if (_eligible(copy, seatClass, seat, block.timestamp)) ++n;
        }
    }

    // --- for the disputes --------------------------------------------------------------------------------------------

    function _escrow() internal view returns (IMeshEscrow) {
        return _ESCROW;
    }

    function _credit(address owner, uint256 amount) internal {
        if (amount != 0) _accounts[owner] += amount;
    }

    function _take(address owner, uint256 amount) internal {
        uint256 has = _accounts[owner];
        require(has >= amount, InsufficientAccount(owner, has, amount));
        _accounts[owner] = has - amount;
    }

    function _burnLater(uint256 amount) internal {
        if (amount != 0) burnable += amount;
    }

    function _pool(uint256 seatClass, uint256 snapshot) internal view returns (uint256) {
        uint256 most = _seats[seatClass].length;
        return snapshot < most ? snapshot : most;
    }

    /// @dev Old enough, not leaving, no party's, and with enough of its bond left.
    function _eligible(Lock memory lock, uint256 seatClass, uint256 seat, uint256 openedAt)
        internal
        view
        returns (bool)
    {
        Seat memory s = _seats[seatClass][seat];
        return s.outAt == 0 && s.joinedAt + uint256(SEAT_AGE) <= openedAt && !_partys(lock, s.owner)
            && !_partys(lock, s.operator) && s.bond - s.locked >= _lockOf(lock.price);
    }

    function _operatorOf(uint256 seatClass, uint256 seat) internal view returns (address) {
        return _seats[seatClass][seat].operator;
    }

    function _lockSeat(uint256 seatClass, uint256 seat, uint256 price) internal {
        Seat storage s = _seats[seatClass][seat];
        uint256 amount = _lockOf(price);
        require(s.bond - s.locked >= amount, SeatBusy());
        s.locked += uint128(amount);
    }

    function _unlockSeat(uint256 seatClass, uint256 seat, uint256 price) internal {
        _seats[seatClass][seat].locked -= uint128(_lockOf(price));
    }

    function _loseLock(uint256 seatClass, uint256 seat, uint256 price) internal {
        Seat storage s = _seats[seatClass][seat];
        uint256 amount = _lockOf(price);
        s.locked -= uint128(amount);
        s.bond -= uint128(amount);
        _burnLater(amount);
        emit LockLost(seatClass, seat, amount);
        if (s.outAt == 0) _leave(s, seatClass, seat);
    }

    function _paySeat(uint256 seatClass, uint256 seat, uint256 amount) internal {
        _credit(_seats[seatClass][seat].owner, amount);
    }

    // --- inside ------------------------------------------------------------------------------------------------------

    function _leave(Seat storage s, uint256 seatClass, uint256 seat) private {
        s.outAt = uint40(block.timestamp + RESIGN);
        emit SeatLeaving(seatClass, seat, s.outAt);
    }

    function _seat(uint256 seatClass, uint256 seat) private view returns (Seat storage) {
        Seat[] storage members = _seats[seatClass];
        require(seat < members.length, NoSeat(members.length));
        return members[seat];
    }

    function _partys(Lock memory lock, address who) private pure returns (bool) {
        return who == lock.clientOwner || who == lock.providerOwner || who == lock.provider
            || who == address(bytes20(lock.run));
    }

    /// @dev A price is below 2**96, so the product fits a bond's 128 bits.
    function _lockOf(uint256 price) private pure returns (uint256) {
        return LOCK_PRICES * price;
    }

    function _bound(bytes32 field, uint256 given, uint256 least, uint256 most) private pure {
        require(given >= least && given <= most, BadBounds(field, given, least, most));
    }
}
