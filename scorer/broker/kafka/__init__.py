"""The contract kept on a real Kafka cluster, with confluent-kafka.

`clients` sets the properties that the promises rest on; `verdict` says what to do about an error; `source` and `sink`
are the two ends; `cluster` answers questions before the start: reachable? topics? first offsets? a living twin?
"""

from scorer.broker.kafka.clients import Identity, Trouble
from scorer.broker.kafka.cluster import Cluster
from scorer.broker.kafka.sink import KafkaSink
from scorer.broker.kafka.source import KafkaSource

__all__ = ["Cluster", "Identity", "KafkaSink", "KafkaSource", "Trouble"]
