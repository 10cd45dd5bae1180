# make demo   the whole system on this machine, and what landed
# make test   lint, types and the tests
# Each target sets up what it needs; nothing is installed outside of .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEPLOY_VENV := .venv-deploy

.PHONY: setup demo test lint docs vectors fuzz bench soak lambda lambda-pins deploy-tools clean

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "dastream needs Python 3.11 or newer; say which one: make PYTHON=python3.12"; exit 2; }
	@echo "setting up $(VENV) …"
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) \
	  && uv pip install --quiet --python $(BIN)/python --editable '.[all]' --group dev; \
	else \
	  $(PYTHON) -m venv $(VENV) \
	  && $(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' \
	  && $(BIN)/python -m pip install --quiet --editable '.[all]' --group dev; \
	fi
	@touch $@

demo: $(READY)
	@$(BIN)/dastream demo

lint: $(READY)
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary

# In a process for each core, four at most: a container may be shown more than it gets. The tests
# of a file stay together, as they share servers.
test: lint
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	  --no-loadscope-reorder

# Rewrites what is generated in the documentation: --help, settings, events, errors.
docs: $(READY)
	@$(BIN)/python docs/generate.py --write

# Writes the test vectors anew; the same code gives the same files.
vectors: $(READY)
	@$(BIN)/python -m vectors.generate

# A million inputs, more with RUNS=; what is new is kept in fuzz/work, see fuzz/README.md.
RUNS ?= 1000000
fuzz: $(READY)
	@if command -v uv >/dev/null; then uv pip install --quiet --python $(BIN)/python --group fuzz; \
	else $(BIN)/python -m pip install --quiet --group fuzz; fi
	@$(BIN)/python -m fuzz -runs=$(RUNS) -print_final_stats=1

# WRITE=--write puts the tables into docs/performance.md, cost.md and postgresql-cost.md.
bench: $(READY)
	@$(BIN)/python bench/decode.py $(WRITE)
	@$(BIN)/python bench/cost.py $(WRITE)
	@$(BIN)/python bench/kinesis.py
	@$(BIN)/python bench/columns.py
	@$(BIN)/python bench/run.py
	@$(BIN)/python bench/postgres.py $(WRITE)
	@$(BIN)/python bench/lake.py

# Kills the endpoint, the emitter and PostgreSQL fifty times while statements run; then the
# consumer under every fault: thousands of histories, hundreds of kills, outages, a million events.
soak: $(READY)
	@$(BIN)/python bench/soak_emit.py
	@$(BIN)/python bench/soak_run.py

# What runs in Lambda, for both architectures; FAST=1 adds the accelerators.
lambda: $(READY)
	@for architecture in arm64 x86_64; do \
	  $(BIN)/python deploy/build.py --architecture $$architecture $(if $(FAST),--fast) \
	    --zip build/lambda-$$architecture.zip || exit; \
	done

# The newest releases of what runs in Lambda, pinned by hash; without gmpy2, which would make the
# archive with accelerators larger than 32 MB.
PIN := $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --generate-hashes --no-header \
  --no-annotate --only-binary :all: --python-version 3.13 --python-platform aarch64-manylinux_2_28

lambda-pins: $(READY)
	@$(PIN) --output-file deploy/requirements.txt >/dev/null
	@$(PIN) --extra fast --no-emit-package gmpy2 --output-file deploy/requirements-fast.txt >/dev/null
	@echo 'pyarrow>=21' | $(PIN) - --output-file deploy/requirements-parquet.txt >/dev/null

# cfn-lint, sam and checkov, for tests/deploy; in an environment of their own.
deploy-tools: $(DEPLOY_VENV)/.ready

$(DEPLOY_VENV)/.ready: pyproject.toml
	@$(PYTHON) -m venv $(DEPLOY_VENV)
	@$(DEPLOY_VENV)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(DEPLOY_VENV)/bin/python -m pip install --quiet --group deploy
	@touch $@

clean:
	@rm -rf $(VENV) $(DEPLOY_VENV) build deploy/.aws-sam
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
