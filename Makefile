# Everything lives in .venv, made on first use; later runs reuse it while pyproject.toml is unchanged.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8000

.PHONY: help serve test test-page lint format hooks clean
.DEFAULT_GOAL := help

help:
	@echo "make serve      set up and answer HTTP requests on http://$(HOST):$(PORT)"
	@echo "make test       set up, lint, check types, run the tests"
	@echo "make test-page  the tests of the page in a browser alone; they need Chromium"
	@echo "make lint       ruff and mypy"
	@echo "make format     let ruff rewrite the code"
	@echo "make hooks      have git run ruff and mypy before each commit"

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or newer, or run make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	$(BIN)/ait models --prepare
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

serve: $(VENV)/.installed
	@HOST=$(HOST) PORT=$(PORT) exec $(BIN)/ait serve

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Without Chromium, the tests of the page in a browser are left out, which the last lines say; with CI=true they fail.
# Some tests start servers and trainings of their own: more at a time than four need much memory. Where a process of the
# suite ends, its test has failed; a new process would take it up again and again. Files come in their order: the dearest
# have few tests, and with the files of most tests first, one process would be left with them in the end.
test: lint
	$(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 4 --max-worker-restart 0 --dist loadfile --no-loadscope-reorder

test-page: $(VENV)/.installed-dev
	REQUIRE_CHROMIUM=1 $(BIN)/python -m pytest -q tests/service/ui

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

hooks: $(VENV)/.installed-dev
	$(BIN)/pre-commit install

clean:
	rm -rf $(VENV)
