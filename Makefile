# Everything happens in .venv; the first command that needs it sets it up.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help install demo test faults soak sanitize check bench bench-latency bench-flat bench-start profile clean

help:  ## show the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

install: $(READY)  ## set up .venv with pinned versions, hashes checked

demo: $(READY)  ## a real Kafka, two models, three topics, live; ARGS=--keep leaves it running
	$(BIN)/scorer demo $(ARGS)

test: $(READY)  ## the whole suite, on a real Kafka, two files at a time; ARGS="-k name" chooses
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

faults: $(READY)  ## kill -9 at every point of a batch, and an auditor; SMOKE=1 for a few rounds, ROUNDS=N for more
	$(BIN)/pytest -m faults tests/faults $(ARGS)

soak: $(READY)  ## faults in random order under steady load, and slopes of memory, files and threads; MINUTES=10
	$(BIN)/python tests/faults/soak.py --minutes $(or $(MINUTES),10) $(ARGS)

sanitize: $(READY)  ## what is compiled from C, watched for every wrong byte while the parity tests run; needs cc
	$(BIN)/python tests/sanitize.py

check: $(READY)  ## format, lint, types, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_docs.py tests/test_architecture.py

bench: $(READY)  ## speed beside a bare pass-through, and preprocessing beside NumPy; ARGS=--peers for others, and Java
	$(BIN)/python -m tests.bench $(ARGS)

bench-latency: $(READY)  ## from event produced to decision readable, beside an echo of the same broker
	$(BIN)/python -m tests.bench.latency $(ARGS)

bench-flat: $(READY)  ## memory and cost per event over millions of events; ARGS="--partitions 1,4,16,64"
	$(BIN)/python -m tests.bench.flat $(ARGS)

bench-start: $(READY)  ## from start to ready, beside a Python that only loads the model
	$(BIN)/python -m tests.bench.startup $(ARGS)

profile: $(READY)  ## where a batch's time goes, stage by stage; ARGS="--mode at-least-once"
	$(BIN)/python -m tests.bench.profile $(ARGS)

clean:  ## remove .venv and everything that was made
	rm -rf .venv .bench .demo dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): requirements.txt pyproject.toml $(wildcard scorer/compiled/*.[ch]) scorer/compiled/build.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "scorer needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)
