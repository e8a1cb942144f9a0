# Two commands do everything: make demo, make test. Both make .venv when it is missing. What takes
# long is tested by make test-long.
# make gpu-check is for machines with an NVIDIA GPU; it takes .venv where there is one, else what the
# machine has, and needs nothing installed but torch, onnxscript, OpenCV, pytest, lightning-fabric
# and platformdirs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-long soak fuzz kills gpu-check clean
.DEFAULT_GOAL := test

.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; got $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: .venv/.installed
	$(BIN)/python samples/demo.py

# One process for each processor, so that threads of libraries would only wait for each other.
THREADS := OMP_NUM_THREADS=1

test: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(THREADS) $(BIN)/python -m pytest -n auto

test-long: .venv/.installed
	$(THREADS) $(BIN)/python -m pytest -n auto -m 'long and not gpu'

# Mixed load with faults on the server; DLKIT_SOAK=1800 is half an hour.
soak: .venv/.installed
	$(BIN)/python -m pytest -m soak

# Damaged files by the thousand; some minutes.
fuzz: .venv/.installed
	DLKIT_MUTANTS=5000 $(BIN)/python -m pytest -n auto tests/test_mutants.py \
	  tests/test_archives.py::test_mutants_of_archives

# Each command is killed fifty times at random moments, and goes on; up to an hour.
kills: .venv/.installed
	$(BIN)/python -m tests.kills 50

# Settings of plug-ins that a bare machine may lack would stop pytest, so they are left out here.
# The table is made even where a test fails; the exit code tells of both.
gpu-check: export PYTHONPATH := .$(if $(PYTHONPATH),:$(PYTHONPATH))
gpu-check:
	@run=$$( [ -x $(BIN)/python ] && echo $(BIN)/python || echo $(PYTHON) ); \
	$$run benchmarks/gpu_check.py --ready || exit 2; \
	$$run -m pytest -m gpu -ra -o addopts= -o filterwarnings= -W ignore::pytest.PytestConfigWarning; \
	tests=$$?; $$run benchmarks/gpu_check.py $(GPU_CHECK) && exit $$tests

clean:
	rm -rf .venv demo runs
