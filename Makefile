# Two commands for a new user: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Extra arguments for pip, e.g. PIP_ARGS="--index-url …" for another build of torch.
PIP_ARGS ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PIP_ARGS)

PACKAGES := .[report,server] sandbox[server] plugins/format plugins/math plugins/language[py3langid] plugins/code plugins/logic[reasoning-gym,search] plugins/benchmarks[hub] plugins/openai plugins/judge plugins/view trainers plugins/openrlhf plugins/verifiers
EDITABLE := $(foreach package,$(PACKAGES),--editable ./$(package))
PROJECTS := pyproject.toml $(wildcard sandbox/pyproject.toml plugins/*/pyproject.toml trainers/pyproject.toml)

DEMO_ARGS ?=
TEST_ARGS ?=

.PHONY: help setup docs demo test test-slow test-nightly openrlhf-cpu lint format bench clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## Make .venv with every package of this repository, editable

$(VENV)/.ready: constraints.txt $(PROJECTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "r1env needs Python 3.11 or newer")'
	@echo "setting up $(VENV): a few minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip hatchling editables
# Before anything that depends on it, so that the constraint decides which build comes.
	@$(PIP) torch
	@$(PIP) --no-build-isolation $(EDITABLE)
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements/dev.txt requirements/no-deps.txt
	@$(PIP) --requirement requirements/dev.txt
	@$(PIP) --no-deps --requirement requirements/no-deps.txt
	@touch $@

demo: $(VENV)/.ready ## Train R1-Zero in miniature on the CPU; ends with a report
	$(BIN)/r1env train r1-zero --preset tiny-cpu $(DEMO_ARGS)

test: $(VENV)/.ready-dev ## Run the tests that take no more than a few seconds each
	$(BIN)/pytest -m "not slow and not nightly" -n auto --maxprocesses 8 $(TEST_ARGS)

test-slow: $(VENV)/.ready-dev ## Run what a change needs beside them: trainings, audits, crashes and resumes, attacks
	$(BIN)/pytest -m "slow and not nightly" -n 2 --dist loadgroup $(TEST_ARGS)

test-nightly: $(VENV)/.ready-dev ## Run the rest: OpenRLHF, whole recipes, gVisor, further languages
	$(BIN)/pytest -m nightly -n 2 --dist loadgroup $(TEST_ARGS)

openrlhf-cpu: ## Make the environment that runs OpenRLHF on a CPU; see docs/openrlhf.md
	@tools/openrlhf-cpu-env.sh

lint: $(VENV)/.ready-dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready-dev ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: $(VENV)/.ready-dev ## Build the documentation site in docs/_build/html
	$(BIN)/sphinx-build -q -W --keep-going -b html -c docs . docs/_build/html

bench: $(VENV)/.ready-dev ## Measure the demo over three seeds
	$(BIN)/python benchmarks/demo.py

clean: ## Remove .venv and what tools left behind
	rm -rf $(VENV) docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
