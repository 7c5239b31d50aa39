"""A preprocessor as data, whole or in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scorer.errors import PackError
from scorer.transform import plan


@dataclass(frozen=True, slots=True)
class Part:
    """What one transformer of a column transformer is: the fork's branch and the features it gives, from `start`."""

    branch: int
    start: int
    width: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """A preprocessor as data: its node, the raw columns it uses (in order), the names of the features it gives.

    `parts` are the transformers of a top-level ColumnTransformer by name, and empty for any other preprocessor.
    """

    node: plan.Node
    fields: list[str]
    features: list[str]
    parts: Mapping[str, Part] = field(default_factory=dict)

    def part(self, names: Sequence[str]) -> plan.Node:
        """Return the node of these transformers only, in this order ("remainder" is what remained).

        Raises PackError for a name that is no transformer's, or where the preprocessor has no names.
        """
        fork, *rest = self.node.steps
        if not isinstance(fork, plan.Fork):
            raise self._unnamed()
        chosen = [fork.branches[part.branch] for part in self._chosen(names)]
        features = [self.features[i] for i in self.outputs(names)]
        return plan.Node(self.fields, [plan.Fork(chosen), *rest], features).pruned()

    def outputs(self, names: Sequence[str]) -> list[int]:
        """Return where these transformers' features are in the whole matrix, in this order; raises as `part` does."""
        return [i for part in self._chosen(names) for i in range(part.start, part.start + part.width)]

    def _chosen(self, names: Sequence[str]) -> list[Part]:
        if not self.parts:
            raise self._unnamed()
        unknown = [name for name in names if name not in self.parts]
        if unknown:
            raise PackError(
                f"the preprocessor has no transformer {', '.join(map(repr, unknown))} that gives features; "
                f"it has {', '.join(map(repr, self.parts))}"
            )
        return [self.parts[name] for name in names]

    def _unnamed(self) -> PackError:
        return PackError(
            "the preprocessor's features cannot be shared out by transformers' names: it is no ColumnTransformer; "
            "put the columns of each input into a transformer of one"
        )
