"""The loop: poll → batch → pipeline → deliver → settle, one micro-batch after the other, in one thread.

`batcher` says when a batch is full, `pace` how much of it each topic may have, `breaker` which topic is stopped because
its events turn into dead letters, `ledger` which offsets it earns, `delivery` how it becomes final and what is done
when it does not, `loop` joins them.
"""
