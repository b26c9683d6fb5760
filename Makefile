# `make` lists the targets. Everything is installed into .venv in this folder.

PYTHON ?=
ARGS ?=
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo run test lint clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv and install everything into it; the program is .venv/bin/oyez

.venv/bin/python:
	@PYTHON="$(PYTHON)" scripts/make_venv.sh .venv

$(STAMP): pyproject.toml | .venv/bin/python
	@echo 'installing into .venv: a minute or two, nothing is shown meanwhile'
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet --editable '.[demo,bench,listen]' --group dev
	@touch $@

demo: setup  ## start a server, stream a sample of speech to it, watch the words come
	.venv/bin/python examples/demo.py

run: setup  ## start the server (flags: make run ARGS="--port 9000")
	.venv/bin/oyez serve $(ARGS)

lint: setup  ## check formatting, style and types
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy

test: lint  ## lint, then every test: the real model and foreign client programs too
	.venv/bin/pytest $(ARGS)

clean:  ## remove .venv and everything that was built
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf examples/java-*/target examples/node/node_modules
