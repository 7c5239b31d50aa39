"""A cluster in a thread of librdkafka, told to refuse: the next request of a kind gets the error that a test chose.

It is for the client's errors and their timing only. It keeps no transactional offsets, hides no aborted records and
fences nobody: whether anything is lost or twice is for a real broker to say.
"""

from __future__ import annotations

import time
from ctypes import CDLL, POINTER, byref, c_char_p, c_int, c_int16, c_int32, c_size_t, c_void_p, create_string_buffer
from enum import IntEnum
from functools import cache
from pathlib import Path

import confluent_kafka

SAID = 512
"""Bytes for librdkafka's own words about what it refuses."""
BROKER = 1
"""The only broker's id."""


class Api(IntEnum):
    """Requests by their key in Kafka's protocol."""

    Produce = 0
    OffsetFetch = 9
    AddPartitionsToTxn = 24
    AddOffsetsToTxn = 25
    EndTxn = 26
    TxnOffsetCommit = 28


class MockCluster:
    """One broker at `bootstrap`, inside a client that nobody uses; a context manager."""

    def __init__(self) -> None:
        self._library = library = _librdkafka()
        said = create_string_buffer(SAID)
        conf = c_void_p(library.rd_kafka_conf_new())
        for name, value in (b"test.mock.num.brokers", b"1"), (b"log_level", b"0"):
            assert library.rd_kafka_conf_set(conf, name, value, said, c_size_t(SAID)) == 0, said.value
        self._owner = c_void_p(library.rd_kafka_new(c_int(0), conf, said, c_size_t(SAID)))
        assert self._owner.value, said.value
        self._cluster = c_void_p(library.rd_kafka_handle_mock_cluster(self._owner))
        library.rd_kafka_mock_start_request_tracking(self._cluster)
        self.bootstrap: str = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def __enter__(self) -> MockCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.rd_kafka_destroy(self._owner)

    def create(self, topic: str) -> None:
        """Make a topic of one partition."""
        assert self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), c_int(1), c_int(1)) == 0

    def answer(self, api: Api, code: int, after: float = 0.0) -> None:
        """Give the next request of this kind this answer, `after` so many seconds.

        `KafkaError.NO_ERROR` lets it succeed, `KafkaError._TRANSPORT` breaks its connection. What has
        come so far is forgotten.
        """
        self._library.rd_kafka_mock_clear_requests(self._cluster)
        pushed = self._library.rd_kafka_mock_broker_push_request_error_rtts(
            self._cluster, c_int32(BROKER), c_int16(api), c_size_t(1), c_int(code), c_int(int(after * 1000))
        )
        assert pushed == 0

    def await_request(self, api: Api) -> None:
        """Wait until a request of this kind has come since the last `answer` was given; fails after ten seconds."""
        deadline = time.monotonic() + 10
        while not self._received(api):
            assert time.monotonic() < deadline, f"no {api.name} came"
            time.sleep(0.001)

    def _received(self, api: Api) -> bool:
        count = c_size_t()
        requests = self._library.rd_kafka_mock_get_requests(self._cluster, byref(count))
        keys = [self._library.rd_kafka_mock_request_api_key(c_void_p(requests[at])) for at in range(count.value)]
        self._library.rd_kafka_mock_request_destroy_array(requests, count)
        return int(api) in keys


@cache
def _librdkafka() -> CDLL:
    """Return the very library inside the Python client, which has no door of its own to the mock cluster."""
    bundled = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    library = CDLL(str(next(bundled.glob("librdkafka-*.so*"))))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_handle_mock_cluster"):
        getattr(library, name).restype = c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = c_char_p
    library.rd_kafka_mock_get_requests.restype = POINTER(c_void_p)
    library.rd_kafka_mock_request_api_key.restype = c_int16
    return library
