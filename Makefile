# make setup   the virtual environment in .venv with the tested versions
# make demo    the whole pipeline on the bundled sample data, in about a minute
# make parity  the tests beside the real RecBole and RecTools
# make test    the quick tests (about four minutes)
# make audit   known vulnerabilities of the locked packages (needs the network)
# make lock    the locks anew, after a change of pyproject.toml (UPGRADE=--upgrade: newest versions)
# make test-newest, make test-lowest   the quick tests on other versions, see docs/versions.md
# make test-long  commands killed at every file event, 100,000 damaged files, a large dump (hours)
PYTHON ?= python3
# RecBole cannot be installed on Python 3.12 and later.
RIVAL_PYTHON ?= $(firstword $(shell command -v python3.11) $(PYTHON))
# More arguments for the installation of torch, for instance the index of its CPU builds.
TORCH_PIP_ARGS ?=
# What test-newest and test-lowest install as torch, for instance torch==2.13.0.
TORCH ?= torch
BIN := .venv/bin
LOCKS := requirements/lock.txt requirements/torch.txt requirements/torch-cuda.txt
EXTRAS := requirements/extras.txt
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
LOCKED := --require-hashes --no-deps --only-binary :all:

.PHONY: setup demo test test-all test-browser test-long test-newest test-lowest check audit lock fmt lint types \
  contract docs docs-check site notebook results-page picture parity clean

setup: .venv/installed

# pip takes no editable project together with hashes.
.venv/installed: pyproject.toml $(LOCKS)
	$(PYTHON) -c 'import sys; sys.exit("kgrec needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(call install_torch,.venv)
	$(BIN)/python $(PIP_INSTALL) $(LOCKED) -r requirements/lock.txt
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $@

# The packages of kgrec's extras, which only their tests need.
.venv/extras-installed: .venv/installed $(EXTRAS)
	$(BIN)/python $(PIP_INSTALL) $(LOCKED) -r $(EXTRAS)
	touch $@

# torch in a virtual environment. pip chooses its build as it does without hashes (with them it
# prefers the index's), and installs it if the lock has its hash. A build with CUDA needs more.
define install_torch
	$(1)/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
	  $(TORCH_PIP_ARGS) --dest $(1)/torch "$$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements/torch.txt)"
	$(1)/bin/python $(PIP_INSTALL) $(LOCKED) --no-index --find-links $(1)/torch -r requirements/torch.txt
	rm -r $(1)/torch
	! grep -q '^Requires-Dist: nvidia-' $(1)/lib/python*/site-packages/torch-*.dist-info/METADATA || \
	  $(1)/bin/python $(PIP_INSTALL) $(LOCKED) -r requirements/torch-cuda.txt
endef

demo: setup
	$(BIN)/kgrec demo

test: setup
	$(BIN)/python -m pytest

test-all: .venv/extras-installed
	$(BIN)/python -m pytest -m 'not browser'

# The pages of kgrec report in headless Chromium, which .ci/browser.sh installs.
test-browser: .venv/extras-installed
	$(BIN)/python -m pytest -m browser tests/e2e

# Kills at every file event and 100,000 damaged files; the counts go into benchmarks/results.
test-long: setup
	$(BIN)/python -m benchmarks.reliability.kills --record
	$(BIN)/python -m benchmarks.reliability.fuzz --record
	$(BIN)/python -m benchmarks.speed.dumps --triples 20 --record
	$(BIN)/python -m benchmarks.speed.large --folder build --interactions 10 --record

# Beside the real RecBole and RecTools, each in a virtual environment of its own (Python 3.11).
parity: setup .venv-recbole/installed .venv-rectools/installed
	KGREC_PARITY=1 $(BIN)/python -m pytest -m parity tests/parity

.venv-recbole/installed .venv-rectools/installed: .venv-%/installed: benchmarks/%_side/lock.txt requirements/torch.txt
	$(RIVAL_PYTHON) -m venv .venv-$*
	$(call install_torch,.venv-$*)
	.venv-$*/bin/python $(PIP_INSTALL) $(LOCKED) -r benchmarks/$*_side/lock.txt
	touch $@

# The quick tests on the newest versions that pyproject.toml allows and pip finds, and on the lowest.
test-newest test-lowest: test-%:
	rm -rf .venv-$*
	$(PYTHON) -m venv .venv-$*
	$(if $(filter lowest,$*),$(PYTHON) -m requirements.lowest) > .venv-$*/constraints.txt
	.venv-$*/bin/python $(PIP_INSTALL) -c .venv-$*/constraints.txt $(TORCH_PIP_ARGS) '$(TORCH)'
	.venv-$*/bin/python $(PIP_INSTALL) -c .venv-$*/constraints.txt hatchling editables
	.venv-$*/bin/python $(PIP_INSTALL) -c .venv-$*/constraints.txt --no-build-isolation --editable '.[dev]'
	.venv-$*/bin/python --version
	.venv-$*/bin/python -m pip freeze --exclude-editable
	.venv-$*/bin/python -m pytest

check: lint types contract docs-check

# Apart from `check`, which works offline.
audit: setup
	$(BIN)/python -m requirements.audit

lock:
	$(PYTHON) -m requirements.make_lock $(UPGRADE) -- $(TORCH_PIP_ARGS)

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

# The documentation site in build/site; a warning is an error. To look at it with its search:
# python -m http.server -d build/site
site: .venv/extras-installed
	$(BIN)/zensical build --strict --clean --config-file mkdocs.yml

# docs/tutorial.ipynb run again, and its page.
notebook: .venv/extras-installed
	$(BIN)/python docs/make_notebook.py
	$(BIN)/python docs/make_reference.py

# docs/results.md, its plots and the README's table, from benchmarks/results/*.json.
results-page: setup
	$(BIN)/python -m benchmarks.accuracy.page

picture: setup
	$(BIN)/python docs/make_picture.py

clean:
	rm -rf .venv .venv-recbole .venv-rectools .venv-newest .venv-lowest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
