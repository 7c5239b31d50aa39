"""`pack`: from what training left to a verified bundle. Only here are training's own objects read; serving never comes.

`call` is the call, `steps` its steps in their order. `examples` holds the raw events (`gathering` takes them from
anywhere, `reading` from files); `compile` turns the fitted preprocessor into a plan, `images` image chains; `sources`
says what feeds each input. `parity` holds the plan against the preprocessor itself; `shape` measures the batch shape,
`survey` scores the examples once, `calibrating` fits what `judging` then measures, `choosing` picks golden events.
"""

from scorer.bundle.packing.call import pack

__all__ = ["pack"]
