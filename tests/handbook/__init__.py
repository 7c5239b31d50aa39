"""A benchmark on the field's reference simulation: `python -m tests.handbook DATA.parquet`, data not included."""
