"""What must a node not forget, and where does it keep it?"""

from mesh.store.batch import Batch, Snapshot
from mesh.store.errors import StoreClosed, StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreTooNew
from mesh.store.journal import TxJournal, TxRecord
from mesh.store.outbox import OutboxEntry
from mesh.store.rows import Row
from mesh.store.store import Store, StoreStatistics
from mesh.store.trace import TraceEntry, TraceRecord

__all__ = [
    "Batch",
    "OutboxEntry",
    "Row",
    "Snapshot",
    "Store",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreLocked",
    "StoreStatistics",
    "StoreTooNew",
    "TraceEntry",
    "TraceRecord",
    "TxJournal",
    "TxRecord",
]
