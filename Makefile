# Each target sets itself up: a virtual environment in .venv, made once, renewed when setup.py changes.
PYTHON ?= python3
INSTALLED := .venv/.installed
# Two processes with two threads each on two cores run ten times slower than with one thread each.
TEST_PROCESSES ?= 2

.PHONY: quickstart studio test check clean

quickstart: $(INSTALLED)
	.venv/bin/python tools/train.py

studio: runs/quickstart/detector.safetensors
	.venv/bin/python tools/studio.py

runs/quickstart/detector.safetensors: | $(INSTALLED)
	.venv/bin/python tools/train.py

test: $(INSTALLED)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(TEST_PROCESSES)

check: test

$(INSTALLED): setup.py
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet "torch>=2.14" -e ".[dev]"
	.venv/bin/python -m pip install --quiet --no-deps lvis trackers
	touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache
