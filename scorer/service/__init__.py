"""The loop: poll → batch → pipeline → deliver → settle, one micro-batch after the other, in one thread.

`batcher` says when a batch is full, `ledger` which offsets it earns, `delivery` how it becomes final and what is done
when it does not, `loop` joins them.
"""
