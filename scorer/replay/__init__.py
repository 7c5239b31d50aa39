"""A topic's past, scored again: a slice → `pipeline` → what differs from the decisions recorded then.

`positions` says where a slice begins and ends, `run` joins its source with the pipeline, `compare` sets the replayed
decisions beside the recorded ones, `show` writes the report for a person, `progress` says how far a replay is.
"""
