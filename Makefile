# Two commands set everything up: `make demo` and `make test`. Both make .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two at a time, each with servers of its own; a file's tests share fixtures and stay together, in order.
TEST_PROCESSES := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test bench lint serve stage-digests clean

demo: $(VENV)/.installed
	$(BIN)/touchline demo

serve: $(VENV)/.installed
	$(BIN)/touchline serve

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(TEST_PROCESSES) --cov --cov-report=

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks --profiles --ablations --long 10 --memory --library --uploads 200 --write

# After a change to the code of a stage: records it, once VERSION was raised where the output can differ.
stage-digests: $(VENV)/.installed-dev
	$(BIN)/python -m tests.support.stage_digests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vulture
	$(BIN)/deptry .
	$(BIN)/lint-imports

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[yolo,doctr,dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) *.egg-info
