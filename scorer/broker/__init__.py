"""The doors to Kafka, and the only room that imports its client.

`contract` says what a source and a sink promise; `kafka` keeps it on a real cluster (and `kafka.bounded` reads a slice,
and commits nothing), `memory` in one process with faults on demand; `local` runs a real broker on this machine, from
the `jars`.
"""
