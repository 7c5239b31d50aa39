"""What fills in or marks the missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.bundle.packing.compile.flow import Flow, Steps, known_value, numeric
from scorer.transform import plan
from scorer.transform.plan import Step
from scorer.transform.scalars import Value, is_nan, is_null


def simple_imputer(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the imputer's fills and the indicators after them, for every strategy."""
    steps: list[Step] = []
    if fitted.strategy not in {"most_frequent", "constant"}:
        steps, flow = numeric(name, flow)
    fills = [
        None if is_nan(fill) and not fitted.keep_empty_features else known_value(name, fill)
        for fill in fitted.statistics_.astype(fitted._fill_dtype)
    ]
    kept = sum(fill is not None for fill in fills)
    filled = flow._replace(width=kept, frame=False, fortran=flow.fortran or kept < flow.width)
    if not fitted.add_indicator:
        return [*steps, plan.Impute(_marker(name, fitted), fills)], filled
    marks = [int(i) for i in fitted.indicator_.features_]
    masks = _masks(flow, marks)
    out = filled.joined([filled, masks], sparse=flow.sparse)._replace(dtype=filled.dtype)
    return [*steps, plan.Impute(_marker(name, fitted), fills, marks)], out


def missing_indicator(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the masks alone; what is missing where training missed nothing is refused, if it was."""
    marks = [int(i) for i in fitted.features_]
    strict = fitted.features == "missing-only" and fitted.error_on_new
    refused = [i for i in range(flow.width) if i not in marks] if strict else []
    masks = _masks(flow, marks)
    sparse = fitted.sparse is True or (flow.sparse and fitted.sparse is not False)
    fills: list[Value | None] = [None] * flow.width
    out = masks._replace(sparse=sparse, dtype=np.dtype(np.bool_))
    return [plan.Impute(_marker(name, fitted), fills, marks, refused=refused)], out


def _masks(flow: Flow, marks: list[int]) -> Flow:
    """Return what the masks of some columns are: a list of a matrix's columns comes in Fortran order."""
    return flow._replace(width=len(marks), frame=False, fortran=flow.fortran or len(marks) < flow.width)


def _marker(name: str, fitted: Any) -> Value | None:
    return None if is_null(fitted.missing_values) else known_value(name, fitted.missing_values)
