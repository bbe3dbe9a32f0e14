# `make demo` shows this project, `make test` proves it; `make unit` and `make check` are for every day. All work on a
# fresh clone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
SUPPLY := .venv-supply
EXECUTOR ?= auto
WORKERS ?= 2
AWS_WORKERS ?= 3

# Tests start hundreds of Python processes: without bytecode each of them compiles the package again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo check lint style types imports unit test test-core test-aws faults aws-emulator aws-first-run bench lock audit sbom clean
.DELETE_ON_ERROR:

$(VENV)/.sandbox: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[sandbox]'
	touch $@

# What the tests run with, in the versions and with the hashes of the lock file.
$(VENV)/.dev: setup.py pyproject.toml requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@ $(VENV)/.sandbox

$(SUPPLY)/.made: requirements/supply.txt
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/supply.txt
	touch $@

# A sandbox, a node, a trigger, a container, an accepted submission. `make demo EXECUTOR=process` needs no Docker.
demo: $(VENV)/.sandbox
	$(BIN)/numerai demo --executor $(EXECUTOR)

# Before every commit: 90 seconds on two cores.
check: lint unit

lint: style types imports

style: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/python -m tests.installed_name
	$(BIN)/mypy

imports: $(VENV)/.dev
	PYTHONPATH=node_template $(BIN)/lint-imports --no-logo

# The tests for every day: no engine, no coverage, and none that works for seconds.
unit: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not docker" --no-cov -q tests/unit $(ARGS)

# Unit, contract and end-to-end tests. Without a Docker engine the container tests are skipped, and that is said. Those on
# the AWS emulator wait most of their time, so they run beside the others, and their files beside each other: each file has
# an emulator and a cluster of its own.
test: lint
	$(MAKE) --jobs=2 --output-sync=target --no-print-directory test-core test-aws

# pytest ends with 5 when ARGS select no test of a target, which is no failure.
test-core: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not aws" --cov --cov-report=term $(COVERAGE) $(ARGS) || [ $$? -eq 5 ]

test-aws: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(AWS_WORKERS) --dist loadfile -m aws --no-cov $(ARGS) || [ $$? -eq 5 ]

# The fault matrix: runs it, prints it as a table and writes docs/faults.md.
faults: $(VENV)/.dev
	$(BIN)/python -m tests.faults -n $(WORKERS) $(ARGS)

# Measured beside what a user would do otherwise, in CPU seconds and peak memory, and written to docs/benchmarks.md: a twentieth of
# Numerai's size in ten minutes, or all of it with ARGS=--share=1 (12 GB of disk, an hour).
bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(ARGS)

# A local AWS with a sandbox's worth of services, for trying the AWS provider by hand; prints the variables to export.
aws-emulator: $(VENV)/.dev
	$(BIN)/python -m tests.aws.emulator

# A throwaway cluster in your AWS account, proven step by step and always destroyed: under 5 cents and 40 minutes. It asks
# first. ARGS="--profile NAME"; --yes for CI; --emulator for the local AWS, which writes the table in docs/aws.md.
aws-first-run: $(VENV)/.dev
	$(BIN)/python -m tests.aws.first_run $(ARGS)

# Renews every lock file: docs/contributing.md, "What is installed".
lock: $(SUPPLY)/.made
	UV=$(SUPPLY)/bin/uv requirements/lock.sh $(ARGS)

# Looks the locked packages up among the known vulnerabilities, and says so where that cannot be done.
audit: $(SUPPLY)/.made
	$(SUPPLY)/bin/python requirements/audit.py $(ARGS)

# The tool's bill of materials, in dist/.
sbom: $(SUPPLY)/.made
	$(SUPPLY)/bin/python requirements/sbom.py

clean:
	rm -rf $(VENV) $(SUPPLY) build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
