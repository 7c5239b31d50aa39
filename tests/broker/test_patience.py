"""Calls that may never return, made where they can be left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from scorer.broker.kafka import patience
from scorer.broker.kafka.patience import Caller, CallStuckError


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a tenth of a second beyond a time-out."""
    monkeypatch.setattr(patience, "GRACE", 0.1)


def raising(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


def test_a_call_gives_what_it_gives() -> None:
    """Results and exceptions come through, one call after the other, on the same thread."""
    caller = Caller()
    assert caller(lambda: 7, 5.0) == 7
    for error in (ValueError("x"), TimeoutError("its own"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            caller(raising(error), 5.0)
        assert caught.value is error
    assert caller(threading.get_ident, 5.0) == caller(threading.get_ident, 5.0) != threading.get_ident()
    caller.close([])


def test_a_call_that_never_returns_is_left_behind() -> None:
    """The caller has its answer in time, and another one can be made; the thread ends when its call does."""
    caller, never = Caller(), threading.Event()
    with pytest.raises(CallStuckError, match=r"has not returned after 0\.1 s"):
        caller(never.wait, 0.0)
    caller.close([])
    other = Caller()
    assert other(lambda: 7, 5.0) == 7
    other.close([])
    never.set()


def test_a_client_is_destroyed_where_it_can_be_waited_for() -> None:
    """Its last reference is given up in the caller's thread, not before everybody else has given up theirs."""
    where: list[int] = []

    class Client:
        def __del__(self) -> None:
            where.append(threading.get_ident())

    caller = Caller()
    threads: list[threading.Thread] = []
    caller(lambda: threads.append(threading.current_thread()), 5.0)
    client = Client()
    caller.close([client])
    threads[0].join(0.3)
    assert not where
    del client
    threads[0].join(10.0)
    assert where == [threads[0].ident]


def test_a_closed_caller_leaves_no_thread() -> None:
    """Producers come and go over months: their threads go with them."""
    caller = Caller()
    threads: list[threading.Thread] = []
    caller(lambda: threads.append(threading.current_thread()), 5.0)
    caller.close([])
    threads[0].join(10.0)
    assert not threads[0].is_alive()
