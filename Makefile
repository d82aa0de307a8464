# make and Python 3.11 are all that has to be there; scripts/bootstrap.py brings the rest into .boot and .venv.
PYTHON ?= python3.11
PY := .venv/bin/python
PACKAGES := hub channels_adapters agents memory tenants tests
PYTEST_ARGS ?= -n 2 --dist loadgroup -q

# Kept compiled, whatever the shell says: else each of the many processes compiles two thousand modules, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check bench bench-memory faults soak fuzz bench-peers shots image-check widget install clean

run: install
	@exec .venv/bin/hub up

test: install
	$(PY) -m pytest $(PYTEST_ARGS)

check: install
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy $(PACKAGES)
	.venv/bin/lint-imports
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) -m scripts.deploycheck

bench: install
	$(PY) -m tests.benchmarks

bench-memory: install
	$(PY) -W ignore -m tests.benchmarks.bench_memory

bench-peers: install
	$(PY) -m tests.benchmarks.peers

faults: install
	$(PY) -m tests.faults

soak: install
	$(PY) -m tests.faults --soak $(or $(SECONDS),480)

fuzz: install
	$(PY) -m tests.fuzz
	REST_EXAMPLES=100 $(PY) -m pytest -q -o timeout=3600 -k promises tests/edges/test_rest_generated.py

# The pictures of docs/images; ONLY="chat trace" takes some of them. Needs Chromium.
shots: install
	$(PY) -m tests.shots $(ONLY)

# Builds the image and runs the compose file with it. Needs Docker with Compose 2.24, and says so where they are not there.
image-check: install
	$(PY) -m pytest -q -s -rs tests/image/checks.py

# Needs Node 20; everything else does without.
widget:
	@$(PYTHON) scripts/check_widget.py --write

install:
	@$(PYTHON) scripts/bootstrap.py

clean:
	rm -rf .venv .boot .mypy_cache .ruff_cache build dist
