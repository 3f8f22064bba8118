# `make run` and `make test` set up everything they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: run test test-all lint format benchmark-paper clean

run: $(READY)
	$(BIN)/grad-instructor run

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow"

test-all: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

# both protocols of the paper on MNIST, in GRAD_INSTRUCTOR_DATA: about 90 minutes on two cores; continues where it stopped
benchmark-paper: $(READY)
	$(BIN)/python benchmarks/paper.py
	$(BIN)/python benchmarks/readme.py

# small mistakes in copies of the code, which the quick tests must notice: a quarter of an hour on two cores
.PHONY: mutants
mutants: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# uv takes a minute or two where pip takes five; pip serves where uv cannot (a mirror that only pip's settings name).
# torch and torchvision come in one call, or versions may be paired that do not work together.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; give one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): up to a few minutes and about 6 GB, once"
	{ $(PIP) 'uv>=0.9,<1' && $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[dev]'; } || \
		$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
