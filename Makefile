# `make` lists the targets. Everything is installed into .venv in this folder.

PYTHON ?=
ARGS ?=
STAMP := .venv/.installed
COVERAGE := --cov --cov-report=term --cov-fail-under=88
LOCK := requirements/development.txt
TOOLS := build/tools/bin
COMPILE = $(TOOLS)/uv pip compile --quiet --no-config --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --custom-compile-command 'make lock' $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup demo run check test lint clean lock audit sbom

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv and install everything into it; the program is .venv/bin/oyez

.venv/bin/python:
	@PYTHON="$(PYTHON)" scripts/make_venv.sh .venv

$(STAMP): pyproject.toml requirements/pip.txt $(LOCK) | .venv/bin/python
	@echo 'installing into .venv: a minute or two, nothing is shown meanwhile'
	.venv/bin/python -m pip install --quiet --require-hashes --no-deps --requirement requirements/pip.txt
	.venv/bin/python -m pip install --quiet --require-hashes --no-deps --requirement $(LOCK)
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	.venv/bin/python -m pip check
	@touch $@

demo: setup  ## start a server, stream a sample of speech to it, watch the words come
	.venv/bin/python examples/demo.py

run: setup  ## start the server (flags: make run ARGS="--port 9000")
	.venv/bin/oyez serve $(ARGS)

lint: setup  ## check formatting, style and types
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy

check: lint  ## lint, then the tests that need no model, browser, database or programs of others
	.venv/bin/pytest --quick --numprocesses=auto --quiet $(ARGS)

test: lint  ## lint, then every test: the real model and foreign client programs too
ifeq ($(ARGS),)
	.venv/bin/pytest --quick --numprocesses=auto --quiet $(COVERAGE)
	.venv/bin/pytest --rest
else
	.venv/bin/pytest $(ARGS)
endif

build/tools/.installed: requirements/tools.txt
	@test -x $(TOOLS)/python || PYTHON="$(PYTHON)" scripts/make_venv.sh build/tools
	$(TOOLS)/python -m pip install --quiet --require-hashes --no-deps --requirement $<
	@touch $@

lock: build/tools/.installed  ## write requirements/*.txt anew (ARGS=--upgrade: with the newest versions)
	$(COMPILE) pyproject.toml --extra postgres --group build --output-file requirements/server.txt
	$(COMPILE) pyproject.toml --all-extras --group dev --constraints requirements/server.txt \
		--output-file $(LOCK)
	$(COMPILE) --group pip --output-file requirements/pip.txt
	$(COMPILE) --group tools --output-file requirements/tools.txt

audit: build/tools/.installed  ## ask for known vulnerabilities of everything in requirements/ (needs the network)
	$(TOOLS)/pip-audit --strict --disable-pip --require-hashes --requirement $(LOCK) --requirement requirements/tools.txt

sbom: build/tools/.installed  ## write build/oyez.cdx.json: what a server is made of (CycloneDX)
	$(TOOLS)/cyclonedx-py requirements requirements/server.txt --pyproject pyproject.toml \
		--output-reproducible --output-file build/oyez.cdx.json

clean:  ## remove .venv and everything that was built
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf examples/java-*/target examples/node/node_modules
