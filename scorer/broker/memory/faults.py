"""Sentinels: what a script may put in the way of one call. An exception in a script is raised instead of the call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """The call takes effect, and then this is raised: the caller cannot know."""

    fault: Exception


@dataclass(frozen=True, slots=True)
class Before:
    """Something else happens just before the call: a rebalance, a twin, a crash (by raising)."""

    action: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Refuse:
    """`publish` queues this many records, and refuses the next."""

    after: int


@dataclass(frozen=True, slots=True)
class Slow:
    """The commit goes through, but so slowly that its request was sent twice; the second one is still on its way."""

    why: str = "a commit was slow"


@dataclass(frozen=True, slots=True)
class Again:
    """`poll` hands out records from the first one on, whatever was handed out and committed."""


Sentinel: TypeAlias = Exception | AnswerLost | Before | Refuse | Slow | Again | None
"""None lets the call pass."""
