"""What is the whole of a channel, on one page? Its states, whose move it is, and every edge of both halves.

`client.TABLE` and `provider.TABLE` run it; ``tests/protocols/channels/test_table.py`` walks both over every state and input
and finds exactly these edges. Not drawn: what leaves a channel in its state (vouchers, redemptions, deals signed).
"""

from typing import Final

import msgspec

__all__ = ["EDGES", "STATES", "Edge", "StateRow"]


class StateRow(msgspec.Struct, frozen=True):
    """One state. ``money``: where the deposit is."""

    name: str
    roles: str
    who: str
    money: str


class Edge(msgspec.Struct, frozen=True, order=True):
    """One party's channel moves from a state to another; ``none`` is no channel at all."""

    role: str
    before: str
    on: str
    after: str


STATES: Final = (
    StateRow("Opening", "both", "client: fund", "free, until the chain shows it"),
    StateRow("Open", "both", "client: a voucher per accepted result", "locked for the provider"),
    StateRow("ToppingUp", "client", "client: fund", "locked, and more on its way"),
    StateRow("Closing", "both", "provider: redeem; client: close after the delay", "locked, for a while"),
    StateRow("Closed", "both", "client: open the next generation", "returned, but for what was redeemed"),
)

EDGES: Final = frozenset(
    Edge(*row)
    for row in (
        ("client", "Closed", "chain: ends soon", "Closing"),
        ("client", "Closed", "chain: open", "Open"),
        ("client", "Closed", "fund", "Opening"),
        ("client", "Closing", "chain: closed", "Closed"),
        ("client", "Open", "chain: closed", "Closed"),
        ("client", "Open", "chain: ends soon", "Closing"),
        ("client", "Open", "close", "Closing"),
        ("client", "Open", "fund", "ToppingUp"),
        ("client", "Opening", "chain: ends soon", "Closing"),
        ("client", "Opening", "chain: open", "Open"),
        ("client", "Opening", "tx refused", "none"),
        ("client", "ToppingUp", "chain: closed", "Closed"),
        ("client", "ToppingUp", "chain: open", "Open"),
        ("client", "ToppingUp", "close", "Closing"),
        ("client", "ToppingUp", "tx refused", "Open"),
        ("provider", "Closed", "chain: ends soon", "Closing"),
        ("provider", "Closed", "dropped", "none"),
        ("provider", "Closed", "chain: open", "Open"),
        ("provider", "Closed", "signed", "Opening"),
        ("provider", "Closing", "chain: closed", "Closed"),
        ("provider", "Closing", "chain: open", "Open"),
        ("provider", "Closing", "dropped", "none"),
        ("provider", "Closing", "tx refused", "Open"),
        ("provider", "Open", "chain: closed", "Closed"),
        ("provider", "Open", "chain: ends soon", "Closing"),
        ("provider", "Open", "close consent", "Closing"),
        ("provider", "Open", "dropped", "none"),
        ("provider", "Opening", "chain: ends soon", "Closing"),
        ("provider", "Opening", "chain: open", "Open"),
        ("provider", "Opening", "dropped", "none"),
    )
)
