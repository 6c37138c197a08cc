# The two commands of the README are `make run` and `make test`; both do all set-up on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help run demo test check bench gallery lock clean setup setup-dev

help:            ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/  /'

setup:
	@$(PYTHON) scripts/setup.py run

setup-dev:
	@$(PYTHON) scripts/setup.py dev

run: setup       ## start Dewpond with a sandbox world and say where to look
	@$(BIN)/dewpond run $(ARGS)

demo: setup      ## play the story of a payment, step by step
	@$(BIN)/dewpond demo $(ARGS)

test: setup-dev  ## every test, in parallel
	@$(BIN)/python scripts/test.py $(ARGS)

check: setup-dev ## style, types, import contracts, tidiness
	@$(BIN)/python scripts/check.py

bench: setup-dev ## speed, each scenario beside its limit in the same run
	@$(BIN)/python -m bench $(ARGS)

gallery: setup-dev ## a picture of every page, to be looked at, in build/gallery
	@$(BIN)/python scripts/gallery.py $(ARGS)

lock: setup-dev  ## pin every dependency anew (needs uv)
	@$(BIN)/python scripts/lock.py

clean:           ## remove what was installed and cached here
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache assets/node_modules src/dewpond/web/static/vendor tests/vendor
