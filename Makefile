# `make repro` and `make test` need Python 3.11 or 3.12, git, make and pip; they set up everything else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	--quiet
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test lint bench architecture cli env env-dev lock

env: $(READY)

# And what tests, lint and measurements need besides.
env-dev: $(READY_DEV)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v in ((3, 11), (3, 12)) else \
		"segscope needs Python 3.11 or 3.12, not %d.%d; name one: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

$(READY_DEV): $(READY) requirements-dev.lock
	$(INSTALL) --require-hashes -r requirements-dev.lock
	touch $@

lock:
	$(LOCK) $(LOCK_OPTIONS) --extra dask --extra onnx --extra s3 -o requirements.lock
	$(LOCK) $(LOCK_OPTIONS) --extra dev -c requirements.lock -o requirements-dev.lock

repro: env
	@dvc repro
	@echo "Open reports/index.html in a browser."

test: env-dev
	python -m pytest -n auto --dist worksteal

lint: env-dev
	ruff check .
	ruff format --check .
	lint-imports --no-logo
	mypy
	deptry src
	actionlint
	zizmor --quiet --offline .github

architecture: env-dev
	python tests/closure.py --picture

cli: env
	python docs/cli.py

bench: env-dev
	python bench/bench.py
	python bench/bench_model.py
	python bench/bench_latent.py
	python bench/bench_report.py .
	python bench/overhead.py .
	$(if $(PHOTOGRAPHS),python bench/scale.py $(PHOTOGRAPHS) $(SIZES))
