"""Takes a stream of keys with their times, says which may pass: at most so many of a key in a sliding window."""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

Key: TypeAlias = tuple[str, str]

LINES: Final = 5
SECONDS: Final = 10.0
KEYS: Final = 256
"""Keys told apart at one time; with `LINES` and `SECONDS` it bounds the whole log to 128 lines a second."""

_OTHERS: Final[Key] = ("", "")


class RateLimit:
    """At most `LINES` passes of one key in any `SECONDS`; keys beyond `KEYS` share one allowance."""

    def __init__(self) -> None:
        self._passed: dict[Key, deque[float]] = {}
        self._left_out: dict[Key, int] = {}

    def admit(self, key: Key, now: float) -> int | None:
        """Return None where the line is to be left out, else how many of its key were since the last that passed.

        `now` is in monotonic seconds.
        """
        key = self._seat(key, now)
        passed = self._passed.setdefault(key, deque(maxlen=LINES))
        if len(passed) == LINES and now - passed[0] < SECONDS:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return None
        passed.append(now)
        return self._left_out.pop(key, 0)

    def _seat(self, key: Key, now: float) -> Key:
        """Return the key to count under; a full table first gives up the keys that have been quiet for a window."""
        if key in self._passed or len(self._passed) < KEYS:
            return key
        self._passed = {k: times for k, times in self._passed.items() if now - times[-1] < SECONDS}
        self._left_out = {k: count for k, count in self._left_out.items() if k in self._passed}
        return key if len(self._passed) < KEYS else _OTHERS
