# Two commands for users: `make demo` and `make test`. Both set up their own virtual environment first.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(BIN)/skipstone
# A package that tests and benchmarks take trained networks from; its code and what that needs are not used.
NETWORKS := --ignore-requires-python rapidocr-onnxruntime==1.4.4

SEED ?= 1

.PHONY: demo test campaign coverage lint bench wheel docs setup setup-test setup-docs clean

demo: setup
	$(RUN) verify resnet8_fashion --prune unstructured:0.5 --design edge --images 2 --out out

test: setup-test
	$(BIN)/python -m pytest -n 2 --dist worksteal $(OPTIONS)

# Ten times as many random examples, others for each SEED.
campaign: setup-test
	$(BIN)/python -m pytest -n 2 --dist worksteal --campaign $(SEED)

coverage:
	$(MAKE) test OPTIONS='--cov --cov-report=term:skip-covered --cov-report=xml'

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: setup-test
	$(BIN)/python -m benchmarks --rtl-layers 12 --out out/measured.md

# The source archive, and the wheel built from it, in dist/.
wheel: setup-test
	$(BIN)/python -m build

# The manual, for a browser: open out/site/index.html.
docs: setup-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

setup: $(VENV)/.installed
setup-test: $(VENV)/.installed-test
setup-docs: $(VENV)/.installed-docs

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(NETWORKS)
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) out build dist .coverage coverage.xml *.egg-info
