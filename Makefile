# `make run` and `make test` set up everything they need in .venv, in the versions that constraints.txt names.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
UV := $(BIN)/uv pip
EVERYTHING := dev,search,benchmarks
# Two processes of tests, whatever the number of cores: each may start a Ray of its own. tests/conftest.py says what belongs
# together and what comes first.
PYTEST := python -m pytest -n 2 --dist loadscope --no-loadscope-reorder --durations=25

.PHONY: run test test-all test-browser test-newest test-oldest constraints lint format benchmark-paper clean

run: $(READY)
	$(BIN)/grad-instructor run

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/$(PYTEST) -m "not slow"

# Pages as people see them, MLflow's among them, in Debian's Chromium or what else is called so; where there is none, each test says
# that it was skipped.
test-browser: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/$(PYTEST) -m browser -rs

test-all: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/$(PYTEST)

# The quick tests at the ends of pyproject.toml's ranges, each in an environment of its own (6 GB): the newest versions of
# everything, and the lowest of what is named there. Both need uv: pip knows no lowest versions.
test-newest: RESOLUTION := highest
test-oldest: RESOLUTION := lowest-direct
test-newest test-oldest: test-%: $(READY)
	test -x $(VENV)-$*/bin/python || $(PYTHON) -m venv --without-pip $(VENV)-$*
	$(UV) install --quiet --python $(VENV)-$*/bin/python --upgrade --resolution $(RESOLUTION) --editable '.[$(EVERYTHING)]'
	OMP_NUM_THREADS=1 $(VENV)-$*/bin/$(PYTEST) -m "not slow"

# Versions that are there already stay where they fit; `make constraints UPGRADE=--upgrade` takes the newest of all.
constraints: $(BIN)/uv
	{ echo "# The versions that are installed by make and in cluster/Dockerfile; made by: make constraints"; \
		cp constraints.txt $(VENV)/constraints.txt 2>/dev/null; \
		echo 'uv>=0.9,<1' | $(UV) compile --quiet $(UPGRADE) --python-version 3.11 --all-extras --no-header --no-annotate \
			--no-emit-index-url --no-emit-find-links --output-file $(VENV)/constraints.txt pyproject.toml - >/dev/null && \
		cat $(VENV)/constraints.txt; } > $(VENV)/made
	mv $(VENV)/made constraints.txt

# both protocols of the paper on MNIST, in GRAD_INSTRUCTOR_DATA: about 90 minutes on two cores; continues where it stopped
benchmark-paper: $(READY)
	$(BIN)/python -m benchmarks.paper
	$(BIN)/python -m benchmarks.pages

# small mistakes in copies of the code, which the quick tests must notice: a quarter of an hour on two cores
.PHONY: mutants
mutants: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py

# runs them from their first cell to their last, and keeps what they give
.PHONY: notebooks
notebooks: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python tests/notebooks.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# uv takes a minute or two where pip takes five; pip serves where uv cannot (a mirror that only pip's settings name).
# torch and torchvision come in one call, or versions may be paired that do not work together.
$(READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV): up to a few minutes and about 6 GB, once"
	{ $(PIP) --constraint constraints.txt uv && $(UV) install --quiet --compile-bytecode --python $(BIN)/python \
		--constraint constraints.txt --build-constraint constraints.txt --editable '.[dev]'; } || \
		$(PIP) --constraint constraints.txt --editable '.[dev]'
	touch $@

$(BIN)/uv: | $(BIN)/python
	$(PIP) 'uv>=0.9,<1'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; give one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) $(VENV)-newest $(VENV)-oldest build *.egg-info
