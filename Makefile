# One menu for everything. Inside an active virtual environment that one is used; otherwise
# .venv is made. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV),.venv)
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.normbench-installed
INSTALLED_DEV := $(VENV)/.normbench-installed-dev
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.PHONY: help demo test test-slow calibrate nightly bench tools lint format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## From nothing: install, train protocols/quick.toml, write its report
	@$(BIN)/normbench run protocols/quick.toml
	@$(BIN)/normbench time results/quick --seconds 5
	@$(BIN)/normbench report results/quick

test: $(INSTALLED_DEV) ## Run the tests (from nothing: sets up first)
	$(BIN)/python -m pytest -n $(or $(JOBS),2) $(ARGS)

test-slow: $(INSTALLED_DEV) ## Run the slow tests: whole sweeps, killed processes, big results
	$(BIN)/python -m pytest -m slow --ignore=tests/stats $(ARGS)

calibrate: $(INSTALLED_DEV) ## Simulate every statistical guarantee in full and write docs/calibration.md
	$(BIN)/python -W error tests/stats/calibration.py docs/calibration.md

nightly: $(INSTALLED_DEV) ## Run the slow tests and the calibration, and write the result into docs/nightly.md
	$(BIN)/python -m tests.nightly $(ARGS)

bench: $(INSTALLED_DEV) ## Time normbench against other ways to train; writes benchmarks/README.md
	$(PIP) --editable '.[bench]'
	$(BIN)/python -m benchmarks $(ARGS)
	$(BIN)/python -m benchmarks --profile
	$(BIN)/python -m benchmarks.stacked

# What the browser tests use beside Chromium: not a Python package, so not in pyproject.toml.
AXE_VERSION := 4.14.1
AXE := .tools/node_modules/axe-core/axe.min.js

tools: $(AXE) ## Fetch axe-core by npm, for the tests of the report in a browser

$(AXE): Makefile
	@mkdir -p .tools
	@npm install --silent --no-save --no-package-lock --no-audit --no-fund --ignore-scripts \
	  --prefix .tools axe-core@$(AXE_VERSION)
	@touch $@

lint: $(INSTALLED_DEV) ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED_DEV) ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove caches and build products; results and reports stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml | $(BIN)/python
	@echo "installing normbench and what it needs (torch is large: some minutes the first time)"
	@$(PIP) --editable .
	@touch $@

$(INSTALLED_DEV): pyproject.toml | $(BIN)/python
	@echo "installing normbench and its development tools (some minutes the first time)"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(INSTALLED)
