"""Benchmarks: ratios of one run, printed by `make bench`, never asserted as times."""
