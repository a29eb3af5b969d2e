# Every target sets up what it needs, in $(VENV), once: `make test` on a fresh clone is enough.
# Each set of extras has a stamp file there, which is made again when pyproject.toml changes.

PYTHON ?= python3
VENV   ?= .venv
RUN    := $(VENV)/bin/python -m
PIP    := $(RUN) pip install --quiet --disable-pip-version-check

EXTRAS_demo        :=
EXTRAS_test        := [test,notebook]
EXTRAS_conformance := [test,notebook,conformance]
EXTRAS_bench       := [bench]

.DELETE_ON_ERROR:
.PHONY: help demo test lint conformance bench stubs format clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 14

demo: $(VENV)/installed-demo ## a tour of the library
	$(RUN) tapegrad.demo

test: lint ## lint, types, every test and every example in the documentation
	$(RUN) pytest -n auto -m "not torch"

lint: $(VENV)/installed-test ## style and types only
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy tapegrad

conformance: $(VENV)/installed-conformance ## the tests that compare with torch
	$(RUN) pytest -n auto -m torch

bench: $(VENV)/installed-bench ## measure against torch and others; ARGS="--help" shows how
	$(RUN) bench $(ARGS)

stubs: $(VENV)/installed-test ## write the *.pyi stubs from the registry of primitives
	$(RUN) tests.write_stubs

format: $(VENV)/installed-test ## mend the style, as far as a program can
	$(RUN) ruff check --fix --exit-zero .
	$(RUN) ruff format .

clean: ## remove the environment, caches and builds
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find tapegrad tests bench -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tapegrad needs Python 3.11 or later: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/installed-%: pyproject.toml $(VENV)/pyvenv.cfg
	$(PIP) --editable ".$(EXTRAS_$*)"
	@touch $@
