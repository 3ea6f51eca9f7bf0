# `make demo` and `make test` set everything up by themselves; a second call starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BLENDER := .cache/blender/.installed
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile

.PHONY: demo test thorough fast lint docs clean

demo: $(STAMP)
	$(BIN)/jaxface demo -o out/demo

test: $(STAMP) lint
	$(PYTEST) -m "not thorough"

thorough: $(STAMP) $(BLENDER)
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
	  npm install --silent --no-fund --no-audit --prefix .cache/node gltf-validator@2.0.0-dev.3.10 assimpjs@0.0.10 || true; fi
	@touch $(STAMP)

# Apart from the rest: Blender's package wants an older NumPy. Without it its tests are skipped.
$(BLENDER):
	$(PYTHON) -m venv .cache/blender
	.cache/blender/bin/python -m pip install --quiet --disable-pip-version-check "bpy>=5.0,<6" || \
	  rm -rf .cache/blender
	@mkdir -p .cache/blender && touch $@

clean:
	rm -rf $(VENV) .cache out
