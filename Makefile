# `make repro` and `make test` need Python 3.11 or 3.12, git, make and pip; they set up everything else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test lint bench architecture cli env

env: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v in ((3, 11), (3, 12)) else \
		"segscope needs Python 3.11 or 3.12, not %d.%d; name one: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

repro: env
	@dvc repro
	@echo "Open reports/index.html in a browser."

test: env
	python -m pytest -n auto --dist worksteal

lint: env
	ruff check .
	ruff format --check .
	lint-imports --no-logo
	mypy
	deptry src
	actionlint
	zizmor --quiet --offline .github

architecture: env
	python tests/closure.py --picture

cli: env
	python docs/cli.py

bench: env
	python bench/bench.py
	python bench/bench_model.py
	python bench/bench_latent.py
	python bench/bench_report.py .
	python bench/overhead.py .
	$(if $(PHOTOGRAPHS),python bench/scale.py $(PHOTOGRAPHS) $(SIZES))
