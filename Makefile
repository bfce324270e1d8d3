.DEFAULT_GOAL := help
.PHONY: help setup demo up check test coverage faults test-slow test-exports bench bench-peers bench-smoke docs screenshots lint lock clean

PYTHON ?= python3
BIN := .venv/bin
# The tests start hundreds of processes, and each would compile the package anew: a tenth of all their time.
unexport PYTHONDONTWRITEBYTECODE
# One more than cores: while a test waits for a process, a venue's clock or the daemon, another computes.
WORKERS ?= 3
READY := .venv/.ready

# The test files of `make check`: those that tell most for their seconds, from pure functions to the whole pipeline.
FAST := $(patsubst %,alphaforge_assets_tests/test_%.py, \
  style repository universe graph partitions plan questions migrations_files \
  transport venues_columns venues_bars venues_funding batches checks pipeline)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("alphaforge needs Python 3.11 or later, and $(PYTHON) is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m compileall -q -j 0 .venv/lib
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(READY)  ## install everything into .venv (some three minutes)

demo: setup  ## the main job: a small warehouse from emulated exchanges, through Dagster
	@$(BIN)/alphaforge demo

up: setup  ## warehouse, sandbox, Dagster UI and daemon, until Ctrl-C
	@$(BIN)/alphaforge up --venues sandbox

check: setup lint  ## style, types, import contracts and the fast tests: before a commit (a minute or two)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow and not tools and not faults" $(FAST)

test: setup lint  ## every check and test but the slow ones (some twenty minutes on two cores)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow and not tools and not faults"

faults: setup  ## faults on demand and random schedules of them, each held against the truth (half an hour)
	FAULTS_PAGE=$(PAGE) FAULTS_SEEDS=$(SEEDS) $(BIN)/pytest -p no:randomly alphaforge_assets_tests/test_faults

coverage: setup  ## which lines of the package `make test` runs, in the processes it starts too (half an hour)
	rm -f .coverage .coverage.*
	-$(BIN)/coverage run -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow and not tools and not faults" $(ONLY)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=90

test-slow: setup  ## the tests that take minutes each
	$(BIN)/pytest -m slow

test-exports: setup .tools/.ready  ## exports opened by freqtrade and nautilus_trader themselves
	ALPHAFORGE_TOOLS_PYTHON=.tools/bin/python $(BIN)/pytest -m tools

.tools/.ready:
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check 'freqtrade>=2026.9' 'nautilus_trader>=1.221'
	@touch $@

lint: setup  ## style, types, import contracts, and whether the Dagster definitions load
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/dagster definitions validate --workspace workspace.yaml --log-level error

bench: setup  ## speed, size and memory, as ratios to floors and peers of the same run (half an hour)
	$(BIN)/python -m bench

bench-smoke: setup  ## the same with tiny sizes, to see that it works (`make test` does it too)
	$(BIN)/python -m bench --smoke

bench-peers: .peers/.ready  ## install freqtrade for `make bench` to compare with, in an environment of its own

.peers/.ready:
	$(PYTHON) -m venv .peers
	.peers/bin/python -m pip install --quiet --disable-pip-version-check 'freqtrade>=2026.9'
	@touch $@

docs: setup  ## renew docs/dictionary.md from the comments of the schema
	$(BIN)/python -m docs.make_dictionary

screenshots: setup  ## renew docs/screenshots.md and its pictures from a running system (ten minutes; needs Chromium)
	$(BIN)/python -m docs.screenshots

lock:  ## renew requirements.lock (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet --output-file requirements.lock

clean:  ## remove what make and the demo made: .venv, .tools, .peers, .alphaforge and caches
	rm -rf .venv .tools .peers .alphaforge .mypy_cache .ruff_cache .pytest_cache .hypothesis

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
