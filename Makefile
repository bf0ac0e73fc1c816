# `make run` and `make test` need Python 3.11 or later, make and a package index; nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# One without the global lock is looked for by this name; CONTRIBUTING.md says how to build it.
FREE_THREADED_PYTHON ?= python3.13t
# What has to be right on every Python: how tasks are run, in threads above all.
PORTABLE_TESTS := tests/test_frontier.py tests/test_driver.py tests/test_behaviour.py tests/test_stress.py tests/test_tasks.py tests/executors

.PHONY: run test test-all test-pythons bench check clean

run: $(VENV)/ready
	$(BIN)/parallel-workers run examples/machines.json --command 'echo "this is {name}"'

test: check
	$(BIN)/pytest -n $(WORKERS) -m "not slow"

test-all: check test-pythons
	$(BIN)/pytest -n $(WORKERS)

# Pythons on the PATH, and those of pyenv; each gets an environment of its own, beside $(VENV).
test-pythons:
	@set -e; export PYENV_VERSION="$$(pyenv versions --bare 2>/dev/null | paste -s -d : -)"; \
	for python in python3.11 python3.12 python3.13 python3.14 "$(FREE_THREADED_PYTHON)"; do \
		if ! "$$python" -c pass 2>/dev/null; then echo "$$python is left out: it is not here"; continue; fi; \
		name=$${python##*/}; venv=$(VENV)-$${name#python}; \
		if ! test -e $$venv/ready; then \
			"$$python" -m venv --clear $$venv; \
			echo '*' >$$venv/.gitignore; \
			$$venv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: pytest hypothesis; \
			touch $$venv/ready; \
		fi; \
		echo "$$($$venv/bin/python -VV)"; \
		PYTHONPATH=src $$venv/bin/python -m pytest $(PORTABLE_TESTS); \
	done

check: $(VENV)/ready-to-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict src

bench: $(VENV)/ready-to-bench
	$(BIN)/python benchmarks/commands.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/load.py
	$(BIN)/python benchmarks/journal.py
	$(BIN)/python benchmarks/history.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/replay.py
	$(BIN)/python benchmarks/free_threading.py

clean:
	rm -rf $(VENV) $(VENV)-* .pytest_cache .mypy_cache .ruff_cache .hypothesis build src/*.egg-info

# Made again when what the project needs has changed.
$(VENV)/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/ready-to-test: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(VENV)/ready-to-bench: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@
