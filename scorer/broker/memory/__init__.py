"""The contract kept in one process, with faults on demand: what tests run the service on.

`cluster` holds the logs, groups and transactions; `source` and `sink` are the two ends; `faults` are the sentinels of
a script. Crash = drop a source and a sink, and `MemoryBroker.evict` the member once its session would be over.
"""

from scorer.broker.memory.cluster import MemoryBroker
from scorer.broker.memory.faults import Again, AnswerLost, Before, Refuse, Slow
from scorer.broker.memory.sink import MemorySink
from scorer.broker.memory.source import MemorySource

__all__ = ["Again", "AnswerLost", "Before", "MemoryBroker", "MemorySink", "MemorySource", "Refuse", "Slow"]
