# The two commands of this project: `make demo` shows it, `make test` proves it. Both work on a fresh clone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXECUTOR ?= auto
WORKERS ?= 2

.PHONY: demo test lint aws-emulator clean
.DELETE_ON_ERROR:

$(VENV)/.sandbox: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[sandbox]'
	touch $@

$(VENV)/.dev: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.sandbox

# A sandbox, a node, a trigger, a container, an accepted submission. `make demo EXECUTOR=process` needs no Docker.
demo: $(VENV)/.sandbox
	$(BIN)/numerai demo --executor $(EXECUTOR)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Unit, contract and end-to-end tests. Without a Docker engine the container tests are skipped, and that is said.
test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term $(ARGS)

# A local AWS with a sandbox's worth of services, for trying the AWS provider by hand; prints the variables to export.
aws-emulator: $(VENV)/.dev
	$(BIN)/python -m tests.aws.emulator

clean:
	rm -rf $(VENV) build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
