# Every command that a person or CI needs; `make help` lists them.
#
# Nothing has to be set up beforehand: a target first makes .venv and installs what it needs from
# the hashed locks in requirements/, and does none of that while they have not changed.
# Needs make, Python 3.11 to 3.14 with its venv module, and pip's usual access to packages.

.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
# -qq: errors only.
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
PORT ?= 3000
DESK_PORT ?= 8100
WORKERS ?= 2

# A virtual environment works only at the path and with the Python that made it. When the checkout
# was moved, or that Python is gone, forget the environment, so that it is made anew.
$(shell [ ! -e $(VENV)/.made ] \
    || { [ "$$(cat $(VENV)/.made)" = "$(CURDIR)" ] && $(BIN)/python -c '' 2>/dev/null; } \
    || rm -f $(VENV)/.made)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- set-up ----------------------------------------------------------------------------------

# PYTHON=… names the interpreter to use, when none of the usual names is the right one.
$(VENV)/.made:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null \
	        || continue; \
	    $$python -c 'import ensurepip, venv' 2>/dev/null || { no_venv=$$python; continue; }; \
	    rm -rf $(VENV) && $$python -m venv $(VENV) && echo "$(CURDIR)" >$@ && exit 0; \
	    exit 1; \
	done; \
	if [ -n "$$no_venv" ]; then \
	    echo "$$no_venv cannot make virtual environments: its venv or ensurepip is missing."; \
	    echo "On Debian or Ubuntu: apt-get install python3-venv"; \
	else \
	    echo "No Python 3.11 to 3.14 found as python3, python3.13, python3.12 or python3.11."; \
	    echo "Install one (Debian or Ubuntu: apt-get install python3 python3-venv; macOS:"; \
	    echo "brew install python@3.13), or name one: make PYTHON=path/to/python3 …"; \
	fi >&2; \
	exit 1

# The locks are complete, so pip need not resolve (--no-deps). pip compiles on one core and
# compileall on all of them, which shortens the whole by a fifth.
define install
@echo "Installing $< into $(VENV); once, about a minute."
@$(PIP) install --require-hashes --only-binary :all: --no-deps --no-compile -r $<
@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
@touch $@
endef

$(VENV)/.embedded: requirements/embedded.txt $(VENV)/.made
	$(install)

$(VENV)/.dev: requirements/dev.txt $(VENV)/.embedded
	$(install)

$(VENV)/.servers: requirements/servers.txt $(VENV)/.embedded
	$(install)

$(VENV)/.desk: requirements/desk.txt $(VENV)/.embedded
	$(install)

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	$(install)

# pyspark has no wheel: it is built here, by the setuptools of the lock.
$(VENV)/.databricks: requirements/databricks.txt $(VENV)/.embedded
	@echo "Installing $< into $(VENV); once, about two minutes."
	@$(PIP) install --require-hashes --no-build-isolation --no-deps --no-compile -r $<
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

# setuptools comes from the lock: hence no isolated build, which would fetch one without a hash.
$(VENV)/.project: pyproject.toml $(VENV)/.embedded
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

EMBEDDED := $(VENV)/.embedded $(VENV)/.project
DEV := $(VENV)/.dev $(VENV)/.project

.PHONY: setup
setup: $(EMBEDDED) ## Make .venv with what an audit needs (every target does it by itself)

.PHONY: setup-dev
setup-dev: $(DEV) ## The same, with what the tests and the linters need

.PHONY: setup-servers
setup-servers: $(EMBEDDED) $(VENV)/.servers ## Make .venv with the clients of Postgres and Celery

.PHONY: setup-desk
setup-desk: $(EMBEDDED) $(VENV)/.desk ## Make .venv with what the review desk needs beside

.PHONY: setup-databricks
setup-databricks: $(EMBEDDED) $(VENV)/.databricks ## Make .venv with what production needs beside

# --- use -------------------------------------------------------------------------------------

# make audit FIXTURES=path/to/gold FROM=2025-01-01 TO=2025-01-31 ARGS='--any-other-option'
# Both use one history, so that `make ui` shows what `make audit` did.
audit ui: export DAGSTER_HOME := $(CURDIR)/.dagster_home
ui: export AUDIT_FIXTURES := $(if $(FIXTURES),$(abspath $(FIXTURES)),$(AUDIT_FIXTURES))
ui: export AUDIT_START_ON := $(if $(FROM),$(FROM),$(AUDIT_START_ON))

.PHONY: audit
audit: $(EMBEDDED) .dagster_home/dagster.yaml ## Audit; FIXTURES=DIR FROM=DAY TO=DAY, anything else in ARGS='…'
	@$(BIN)/audit-pipeline audit $(if $(FIXTURES),--fixtures "$(FIXTURES)") \
	    $(if $(FROM),--from "$(FROM)") $(if $(TO),--to "$(TO)") $(ARGS)

.PHONY: ui
ui: $(EMBEDDED) .dagster_home/dagster.yaml ## Dagster's web interface; PORT=3000 FIXTURES=DIR FROM=DAY
	@echo "Dagster: http://127.0.0.1:$(PORT) (ctrl-C stops it; history in .dagster_home)"
	@$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

.PHONY: desk
desk: setup-desk ## The review desk; DESK_PORT=8100, anything else in ARGS='…'
	@$(BIN)/audit-pipeline desk --port $(DESK_PORT) $(ARGS)

.dagster_home/dagster.yaml: dagster.yaml
	@mkdir -p $(@D)
	@cp $< $@

.PHONY: demo
demo: $(EMBEDDED) ## Make fixtures/demo, the invented company, again
	@$(BIN)/python fixtures/make_demo.py $(ARGS)

.PHONY: bench
bench: $(DEV) ## Measure speed; ARGS='…'
	@$(BIN)/python -m audit_pipeline_tests.bench $(ARGS)

# With Splink beside it, which nothing else needs.
.PHONY: bench-reconciliation
bench-reconciliation: $(DEV) $(VENV)/.bench ## Measure how well and fast lines are matched; ARGS='…'
	@$(BIN)/python -m audit_pipeline_tests.bench_reconciliation $(ARGS)

# With PyOD beside it, which nothing else needs.
.PHONY: bench-anomalies
bench-anomalies: $(DEV) $(VENV)/.bench ## Measure how well and fast unusual charges are found; ARGS='…'
	@$(BIN)/python -m audit_pipeline_tests.bench_anomalies $(ARGS)

.PHONY: bench-databricks
bench-databricks: $(DEV) ## Measure what an audit fetches from the warehouse; ARGS='…'
	@$(BIN)/python -m audit_pipeline_tests.bench_databricks $(ARGS)

# Redis and Postgres are those of the machine; nothing of it stays.
.PHONY: demo-workers
demo-workers: $(DEV) ## Show an audit over two workers, one of which is killed; about six minutes
	@$(BIN)/python -m pytest -n 0 -m slow -v --no-header $(PYTEST_ARGS) \
	    audit_pipeline_tests/test_celery_runs.py

# --- check -----------------------------------------------------------------------------------

# The tree id of everything here that git does not ignore, committed or not; nothing without git.
TREE = GIT_INDEX_FILE=$(VENV)/tree.index git add -A . 2>/dev/null \
    && GIT_INDEX_FILE=$(VENV)/tree.index git write-tree 2>/dev/null
# What the tree was when all tests last passed.
PASSED := $(VENV)/.passed

.PHONY: test
test: $(DEV) ## Run the tests; PYTEST_ARGS='-k one_transaction' runs some, WORKERS=2
	@before=$$($(TREE)); rm -f $(PASSED); \
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS) || exit; \
	if [ -z "$(PYTEST_ARGS)$$PYTEST_ADDOPTS" ] && [ "$$($(TREE))" = "$$before" ]; then \
	    echo "$$before" >$(PASSED); \
	fi

# Asks a real workspace, the one that DATABRICKS_HOST and the other variables name; it is never
# asked otherwise.
.PHONY: smoke-databricks
smoke-databricks: $(DEV) $(VENV)/.databricks ## Try a real Databricks workspace: needs DATABRICKS_…
	@SMOKE_DATABRICKS=1 $(BIN)/python -m pytest -n 0 -m smoke --no-header -rA $(PYTEST_ARGS) \
	    audit_pipeline_tests/databricks/test_smoke.py

.PHONY: torture
torture: $(DEV) ## Kill audits at every effect, on SQLite and Postgres; ARGS='--times 5 --random 50'
	@$(BIN)/python -m audit_pipeline_tests.torture $(ARGS)

.PHONY: torture-dagster
torture-dagster: $(DEV) ## Kill real Dagster processes while they audit; ARGS='--times 1 --kinds worker'
	@$(BIN)/python -m audit_pipeline_tests.torture.dagster_matrix $(ARGS)

.PHONY: test-slow
test-slow: $(DEV) ## Run the tests that take minutes
	@$(BIN)/python -m pytest -n $(WORKERS) -m slow $(PYTEST_ARGS)

# What CI runs. Does not test a second time what `make test` has just passed, file by file.
.PHONY: check
check: $(DEV) ## Format, lint, types, architecture, and the tests unless they just passed
	@$(MAKE) --no-print-directory fmt-check
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory arch
	@tree=$$($(TREE)); \
	if [ -n "$$tree" ] && [ "$$(cat $(PASSED) 2>/dev/null)" = "$$tree" ]; then \
	    echo "Tests: already passed on exactly these files."; \
	else \
	    $(MAKE) --no-print-directory test; \
	fi

.PHONY: fmt
fmt: $(DEV) ## Format the code, with ruff's safe fixes
	@$(BIN)/ruff check -q --fix-only .
	@$(BIN)/ruff format .

.PHONY: fmt-check
fmt-check: $(DEV)
	@$(BIN)/ruff format --check .

.PHONY: lint
lint: $(DEV) ## ruff, every rule but those that pyproject.toml excuses
	@$(BIN)/ruff check .

.PHONY: types
types: $(DEV) ## pyright: strict on model/ and agents/, standard elsewhere
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

.PHONY: arch
arch: $(DEV) ## import-linter: which module may import which
	@$(BIN)/lint-imports --no-logo

# --- upkeep ----------------------------------------------------------------------------------

# uv resolves for every platform and Python at once; it lives apart, so that a broken lock can be
# remade. Each lock is bound by the one before it: they agree wherever they overlap. What is not
# an option of production comes as wheels only; all.txt has pyspark, which must be built.
UV := $(VENV)/uv/bin/uv
COMPILE = $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes \
    --no-strip-extras --no-emit-index-url --no-emit-find-links \
    --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) pyproject.toml
WHEELS := --only-binary :all:
# All but bench: what all.txt installs has no use for Splink and PyOD.
EXTRAS := celery databricks desk dev postgres spark

.PHONY: lock
lock: $(UV) ## Remake requirements/ from pyproject.toml; UPGRADE=1 takes newer versions
	@$(COMPILE) $(WHEELS) -o requirements/embedded.txt
	@$(COMPILE) $(WHEELS) --extra dev -c requirements/embedded.txt -o requirements/dev.txt
	@$(COMPILE) $(WHEELS) --extra desk -c requirements/dev.txt -o requirements/desk.txt
	@$(COMPILE) $(WHEELS) --extra celery --extra postgres -c requirements/dev.txt \
	    -o requirements/servers.txt
	@$(COMPILE) $(WHEELS) --extra bench -c requirements/dev.txt -o requirements/bench.txt
	@$(COMPILE) --extra databricks --extra spark -c requirements/dev.txt \
	    -o requirements/databricks.txt
	@$(COMPILE) $(EXTRAS:%=--extra %) -c requirements/databricks.txt -o requirements/all.txt

$(UV): $(VENV)/.made
	@$(BIN)/python -m venv $(VENV)/uv
	@$(VENV)/uv/bin/python -m pip --disable-pip-version-check -qq install uv==0.13.8

.PHONY: clean
clean: ## Remove what can be made again; ALL=1 also the audit's own data and trail
	@echo "Removing .venv, .dagster_home and the tools' caches$(if $(ALL), and .audit_data)."
	@rm -rf $(VENV) .dagster_home .coverage_data .test_output build *.egg-info \
	    .pytest_cache .ruff_cache .import_linter_cache .hypothesis $(if $(ALL),.audit_data)
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@$(if $(ALL),,[ ! -e .audit_data ] || echo "Kept: .audit_data (flags, trail); make clean ALL=1")
