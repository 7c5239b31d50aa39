"""What holds other transformers: pipelines, column transformers and unions."""

from __future__ import annotations

from typing import Any

from scorer.bundle.packing.compile.flow import Compiler, Flow, Steps, numeric
from scorer.transform import plan
from scorer.transform.plan import Step
from scorer.transform.scalars import number


def pipeline(compiler: Compiler, name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the steps of the pipeline's transformers, one after the other."""
    steps: list[Step] = []
    for key, transformer in fitted.steps:
        more, flow = compiler(f"{name}.{key}", transformer, flow)
        if steps and isinstance(steps[-1], plan.Impute):
            # An encoder that knows None tells that training had None for null, which the imputer before it let pass.
            known = enumerate(getattr(transformer, "categories_", []))
            steps[-1] = steps[-1].leaving([i for i, categories in known if any(raw is None for raw in categories)])
        steps += more
    return steps, flow


def column_transformer(compiler: Compiler, name: str, fitted: Any, flow: Flow) -> Steps:
    """Return a fork with a branch for each transformer that takes columns, in `taken` order."""
    branches: list[plan.Branch] = []
    flows: list[Flow] = []
    for key, transformer, columns in taken(fitted):
        take = [int(i) for i in fitted._transformer_to_input_indices[key]]
        # NumPy gives a list of a matrix's columns in Fortran order, a slice of them as they lie.
        part = flow._replace(width=len(take), fortran=flow.fortran or not isinstance(columns, slice))
        steps, out = compiler(f"{name}.{key}", transformer, part)
        more, out = _weighted(f"{name}.{key}", (fitted.transformer_weights or {}).get(key), out)
        end = [plan.Unsign()] if out.sparse and not fitted.sparse_output_ else []
        branches.append(plan.Branch(take, [*steps, *more, *end]))
        flows.append(out)
    return [plan.Fork(branches)], flow.joined(flows, sparse=bool(flows) and fitted.sparse_output_)


def taken(fitted: Any) -> list[tuple[str, Any, Any]]:
    """Return the column transformer's fitted transformers that take columns and are not dropped."""
    return [
        (key, transformer, columns)
        for key, transformer, columns in fitted.transformers_
        if len(fitted._transformer_to_input_indices[key]) and not _is_word(transformer, "drop")
    ]


def feature_union(compiler: Compiler, name: str, fitted: Any, flow: Flow) -> Steps:
    """Return a fork whose branches all take every column."""
    branches: list[plan.Branch] = []
    flows: list[Flow] = []
    for key, transformer in fitted.transformer_list:
        if not _is_word(transformer, "drop"):
            steps, out = compiler(f"{name}.{key}", transformer, flow)
            more, out = _weighted(f"{name}.{key}", (fitted.transformer_weights or {}).get(key), out)
            branches.append(plan.Branch(list(range(flow.width)), [*steps, *more]))
            flows.append(out)
    return [plan.Fork(branches)], flow.joined(flows, sparse=any(out.sparse for out in flows))


def is_passthrough(transformer: Any) -> bool:
    """Return whether a pipeline's or column transformer's entry leaves the columns as they are."""
    return transformer is None or _is_word(transformer, "passthrough")


def _is_word(transformer: Any, word: str) -> bool:
    return isinstance(transformer, str) and transformer == word


def _weighted(name: str, weight: float | None, flow: Flow) -> Steps:
    if weight is None:
        return [], flow
    # A frame's columns are weighted in their own dtypes, an array in the one that holds them all.
    steps: list[Step] = [] if flow.frame else [plan.Numbers(infinities=True, shared=True)]
    return [*steps, plan.Multiply([number(weight)] * flow.width)], numeric(name, flow)[1]._replace(frame=flow.frame)
