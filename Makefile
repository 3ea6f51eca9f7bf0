# `make demo` and `make test` set everything up by themselves; a second call starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile

.PHONY: demo test thorough fast lint docs clean

demo: $(STAMP)
	$(BIN)/jaxface demo -o out/demo

test: $(STAMP) lint
	$(PYTEST) -m "not thorough"

thorough: $(STAMP)
	$(PYTEST) -m thorough

fast: $(STAMP)
	$(PYTEST) -m "not slow and not thorough"

lint: $(STAMP)
	$(BIN)/ruff check jaxface building benchmarks tests run.py
	$(BIN)/ruff format --check jaxface building benchmarks tests run.py
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@if command -v npm >/dev/null 2>&1; then \
	  npm install --silent --no-fund --no-audit --prefix .cache/node gltf-validator@2.0.0-dev.3.10 || true; fi
	@touch $(STAMP)

clean:
	rm -rf $(VENV) .cache out
