"""The tables of the README, made from the code that they describe."""

from __future__ import annotations

from scorer import errors
from scorer.config import reference
from scorer.errors import Reason, ScorerError
from scorer.telemetry import catalogue

REASONS = {
    Reason.TOMBSTONE: "the record has no value",
    Reason.MALFORMED: "not JSON, or not UTF-8",
    Reason.TOO_DEEP: "nested too deeply to be read",
    Reason.WRONG_TYPE: "a field has another type than in the bundle's schema, or the event is no object",
    Reason.MISSING_FIELD: "a field that may not be null is null or absent",
    Reason.OUT_OF_RANGE: "a number or text outside its range, or beyond the model's dtype",
    Reason.UNKNOWN_CATEGORY: 'a category that the encoder, with `handle_unknown="error"`, does not know',
    Reason.BAD_IMAGE: "no PNG or JPEG image, a broken one, or one of more pixels than the bundle lets through",
    Reason.BAD_SCORE: "the model gave no probability: NaN, or outside [0, 1]",
    Reason.MODEL_FAILED: "the model's call fails on this event alone",
    Reason.OVERSIZE: "the record's key leaves no room for a decision",
}


def settings() -> str:
    """Return the table of settings."""
    rows = [f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in reference()]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def metrics() -> str:
    """Return the table of metrics."""
    return catalogue.table().strip()


def exit_codes() -> str:
    """Return the table of exit codes: each error's number, and the first sentence that its class says."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ScorerError)]
    rows = [(kind.exit_code, (kind.__doc__ or "").split("\n")[0]) for kind in kinds if kind is not ScorerError]
    lines = [f"| {code} | {text} |" for code, text in sorted(rows)]
    return "\n".join(["| exit code | meaning |", "|---|---|", *lines])


def reasons() -> str:
    """Return the table of rejections."""
    lines = [f"| `{reason}` | {REASONS[reason]} |" for reason in Reason]
    return "\n".join(["| reason | the event |", "|---|---|", *lines])
