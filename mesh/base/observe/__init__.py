"""What does the node say about itself? Logs (``get_log``, ``log_to``) and counters (``Counters``)."""

from mesh.base.observe.counters import Counters
from mesh.base.observe.logs import Log, LogStatistics, adopt_library, get_log, log_context, log_statistics, log_to

__all__ = ["Counters", "Log", "LogStatistics", "adopt_library", "get_log", "log_context", "log_statistics", "log_to"]
