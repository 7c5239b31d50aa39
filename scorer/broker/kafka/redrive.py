"""What a redrive of dead letters needs of a cluster beyond the contract: a ledger, and limits."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]  # its types leave it out
from confluent_kafka.cimpl import NewTopic

from scorer.broker.kafka.cluster import REQUEST_TIMEOUT, Cluster
from scorer.errors import BrokerError, TopicMissingError


class RedriveCluster(Cluster):
    """Questions before a redrive, and its ledger."""

    def ensure_ledger(self, topic: str) -> None:
        """Make sure of a topic that forgets nothing; raises BrokerError where it would, or cannot be made."""
        if topic not in self.reach():
            new = NewTopic(topic, num_partitions=1, config={"cleanup.policy": "compact"})
            try:
                self._settle(self._admin.create_topics([new])[topic], topic)
            except BrokerError as error:
                raise TopicMissingError(
                    f"{error}; it remembers what was redriven: create it with 1 partition and cleanup.policy=compact"
                ) from error
            self._wait_for(topic)
        if "delete" in self._settings(topic).get("cleanup.policy", "compact"):
            raise BrokerError(
                f"topic {topic} deletes what it holds after a time, and letters would be redriven twice: "
                "set its cleanup.policy=compact"
            )

    def longest(self, topic: str) -> int | None:
        """Return how many milliseconds old a record may be for a topic to take and keep it; None for any age.

        Also None where the cluster does not tell, and where the broker's clock counts instead of the record's time.
        """
        settings = self._settings(topic)
        if settings.get("message.timestamp.type") == "LogAppendTime":
            return None
        limits = [int(settings.get("message.timestamp.before.max.ms", -1))]
        if "delete" in settings.get("cleanup.policy", ""):
            limits.append(int(settings.get("retention.ms", -1)))
        return min((limit for limit in limits if limit >= 0), default=None)

    def _settings(self, topic: str) -> dict[str, str]:
        """Return a topic's settings; none where they may not be described, which is a permission of its own."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        try:
            (answer,) = self._admin.describe_configs([resource], request_timeout=REQUEST_TIMEOUT).values()
            found: dict[str, Any] = answer.result(REQUEST_TIMEOUT)
        except KafkaException:
            return {}
        return {name: str(entry.value) for name, entry in found.items()}
