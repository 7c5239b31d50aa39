"""Takes facts, gives metrics, log lines and health; it watches the service and never steers it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Protocol

from scorer.telemetry.facts import Fact
from scorer.telemetry.health import Health

__all__ = ["Listener", "Telemetry"]


class Listener(Protocol):
    """What hears facts: metrics, the log, health, or a test's list."""

    def hear(self, fact: Fact) -> None:
        """Take note of a fact, without waiting for anybody."""


class Telemetry:
    """Tells every fact to every listener.

    A listener that raises is reported once, through Python's `logging`, and counted in `failures` by its class name;
    the others still hear, and the service goes on: a full disk under the log must not stop scoring.
    """

    def __init__(self, health: Health, *listeners: Listener) -> None:
        self._health = health
        self._listeners: tuple[Listener, ...] = (health, *listeners)
        self.failures: Counter[str] = Counter()

    def tell(self, fact: Fact) -> None:
        """Tell a fact to all listeners, in their order. Raises nothing."""
        for listener in self._listeners:
            try:
                listener.hear(fact)
            except Exception as error:  # a listener's fault is no reason to stop deciding
                self._report(listener, fact, error)

    def beat(self) -> None:
        """Say that the service's loop is turning."""
        self._health.beat()

    def _report(self, listener: Listener, fact: Fact, error: Exception) -> None:
        name = type(listener).__name__
        self.failures[name] += 1
        if self.failures[name] == 1:
            text = "%s could not take %s in (%s: %s); scoring goes on, later failures of it are only counted"
            logging.getLogger(__name__).error(text, name, type(fact).__name__, type(error).__name__, error)
