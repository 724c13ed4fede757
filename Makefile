# Each target sets itself up: a virtual environment in .venv, made once, renewed when setup.py changes.
PYTHON ?= python3
INSTALLED := .venv/.installed
# Two processes with two threads each on two cores run ten times slower than with one thread each.
TEST_PROCESSES ?= 2

.PHONY: quickstart studio test test-fast site check clean

quickstart: $(INSTALLED)
	.venv/bin/fsdet train

studio: runs/quickstart/detector.safetensors
	.venv/bin/fsdet studio

runs/quickstart/detector.safetensors: | $(INSTALLED)
	.venv/bin/fsdet train

test: $(INSTALLED)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(TEST_PROCESSES) --durations=25

test-fast: $(INSTALLED)
	.venv/bin/ruff check .
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(TEST_PROCESSES) --durations=10 -m "not slow"

check: test

# The documentation as a site in build/site; every link and docstring must resolve.
site: $(INSTALLED)
	rm -rf build/pages
	mkdir -p build/pages
	git ls-files "*.md" docs configs datasets "fsdet/heads/*.py" fsdet/build.py LICENSE CITATION.cff "benchmarks/*.csv" | xargs cp --parents -t build/pages
	.venv/bin/mkdocs build --strict --quiet

$(INSTALLED): setup.py
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet "torch>=2.14" -e ".[dev]"
	.venv/bin/python -m pip install --quiet --no-deps lvis trackers
	touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache
