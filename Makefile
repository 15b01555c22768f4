# make setup   the virtual environment in .venv with the tested versions
# make demo    the whole pipeline on the bundled sample data, in about a minute
# make parity  the tests beside the real RecBole
# make test    the quick tests (under two minutes)
# make test-long  commands killed at every file event, and 100,000 damaged files (hours)
PYTHON ?= python3
# RecBole cannot be installed on Python 3.12 and later.
RECBOLE_PYTHON ?= $(firstword $(shell command -v python3.11) $(PYTHON))
# More arguments for the installation of torch, for instance the index of its CPU builds.
TORCH_PIP_ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: setup demo test test-all test-long check fmt lint types contract docs docs-check results-page picture parity clean

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("kgrec needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(PIP) $(TORCH_PIP_ARGS) torch
	$(PIP) --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/kgrec demo

test: setup
	$(BIN)/python -m pytest

test-all: setup
	$(BIN)/python -m pytest -m ''

# Kills at every file event and 100,000 damaged files; the counts go into benchmarks/results.
test-long: setup
	$(BIN)/python -m benchmarks.reliability.kills --record
	$(BIN)/python -m benchmarks.reliability.fuzz --record

# Beside the real RecBole, in a virtual environment of its own (Python 3.11).
parity: setup .venv-recbole/installed
	KGREC_PARITY=1 $(BIN)/python -m pytest -m parity tests/parity

.venv-recbole/installed: benchmarks/recbole_side/requirements.txt
	$(RECBOLE_PYTHON) -m venv .venv-recbole
	.venv-recbole/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH_PIP_ARGS) torch==2.13.0
	.venv-recbole/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/recbole_side/requirements.txt
	touch $@

check: lint types contract docs-check

fmt: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

contract: setup
	$(BIN)/lint-imports

docs: setup
	$(BIN)/python docs/make_reference.py

docs-check: setup
	$(BIN)/python docs/make_reference.py --check
	$(BIN)/python -m benchmarks.accuracy.page --check

# docs/results.md, its plots and the README's table, from benchmarks/results/*.json.
results-page: setup
	$(BIN)/python -m benchmarks.accuracy.page

picture: setup
	$(BIN)/python docs/make_picture.py

clean:
	rm -rf .venv .venv-recbole build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
