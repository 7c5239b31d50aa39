"""Who is in a group, as its coordinator says: a client may think that it is, and wait there for ever."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from scorer.broker.kafka.clients import Identity, Properties, common_properties

TIMEOUT = 10.0
"""Seconds to wait for the answer."""


def is_member(properties: Properties, identity: Identity) -> bool | None:
    """Return whether the group has a member of this scorer's name; None where nobody answers, or none may ask."""
    admin = AdminClient(common_properties(properties, identity))
    asked = admin.describe_consumer_groups([identity.group], request_timeout=TIMEOUT)[identity.group]
    try:
        members = asked.result(TIMEOUT).members
    except TimeoutError:
        return None
    except KafkaException as error:
        return False if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND else None
    return any(member.client_id == identity.client_id for member in members)
