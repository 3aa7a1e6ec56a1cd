# Two commands for users: `make demo` and `make test`. Both set up their own virtual environment first.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(BIN)/skipstone

.PHONY: demo test lint bench setup setup-test clean

demo: setup
	$(RUN) verify resnet8_fashion --prune unstructured:0.5 --design edge --images 2 --out out

test: setup-test
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: setup-test
	$(BIN)/python -m benchmarks --rtl-layers 12 --out out/measured.md

setup: $(VENV)/.installed
setup-test: $(VENV)/.installed-test

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) out
