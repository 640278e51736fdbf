"""How does the node follow its money and move it? See `ledger`."""

from mesh.ledger.following import DEAL_TOPICS
from mesh.ledger.ledger import Ledger, network_params, open_ledger

__all__ = ["DEAL_TOPICS", "Ledger", "network_params", "open_ledger"]
