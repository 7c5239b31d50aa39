"""The optional part in C: what Python takes longest for, once an event. Everything works without it, more slowly.

`Plan` reads JSON into columns (`columns.c`), `weave` joins the texts of many rows (`weave.c`). Both say the same as
the Python beside which they are used, in `decode` and `encode`, byte for byte. Hatchling compiles them (`build.py`).
"""

try:
    from scorer.compiled._native import Plan, weave

    BUILT = True
except ImportError:
    BUILT = False

__all__ = ["BUILT", "Plan", "weave"]
