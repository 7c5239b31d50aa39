"""A topic's past, scored again: a slice → `pipeline` → what differs from the decisions recorded then.

`positions` says where a slice begins and ends, `run` joins its source with the pipeline, `journal` keeps what it did in
`rows` and lines, so that it can go on after an interruption, and `sinks` make the file of them. `recorded` is what was
decided before, `compare` sets both side by side, `figures` and `labels` say what that is worth, `gate` whether it will
do, `show` writes the report for a person, `progress` says how far a replay is. `tape` is a slice in a file, `files` are
all files that can be replayed, `tables` the rows of files of events, scores and labels.
"""
