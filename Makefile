# Two commands on a machine with Python 3.11 and nothing else: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow test-hostile install lint lint-pages vendor bench clean
.DELETE_ON_ERROR:

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	rm -rf runs/demo
	$(BIN)/aae train classifier --data digits --labels 50 --style-matching per_class --random-state 0 --compare --out runs/demo

test: install
	$(BIN)/python -m pytest -m 'not slow' --numprocesses 2 --dist loadfile

test-slow: install
	$(BIN)/python -m pytest -m slow

test-hostile: install
	AAE_HOSTILE_INPUTS=10000 $(BIN)/python -m pytest tests/hostile/test_mutations.py

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/codespell && $(BIN)/basedpyright --level error

lint-pages: tests/browser/node_modules  # types of the studio's pages
	tests/browser/node_modules/.bin/tsc -p tests/browser/tsconfig.json

tests/browser/node_modules: tests/browser/package-lock.json
	cd tests/browser && npm ci --no-audit --no-fund
	@touch $@

vendor:  # newer versions of what checks the pages; the pages themselves need no package
	cd tests/browser && npm update --no-audit --no-fund

bench: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache
