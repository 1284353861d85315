# Everything sets itself up: a virtual environment in .venv, made once and again when pyproject.toml changes.
#   make demo PYTHON=python3.12     another interpreter (3.10 or newer)
#   make test VENV=/tmp/venv        another place for the environment

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# torch's own pin in pyproject.toml is installed before anything that would pull a build with CUDA.
TORCH := torch==2.13.0

MODULES := annotations dimension_names dtypes errors failures hidden_floats hidden_integers ir_types sizes slices tensorir_heap tensorir_kernel tensorir_keys tensorir_statements
TYPED := compiler frontends ir_passes schedules targets benchmarks examples

DEV := $(VENV)/.installed-dev
BENCH := $(VENV)/.installed-dev+bench+pytorch

# Where a machine forbids it, each of the hundreds of processes that tests start would compile all of Python's modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all bare-install conformance fuzz lint format typecheck bench litert models clean distclean

help:  ## this list
	@echo "Tilewright: an ONNX model in, a standalone shared library out. Each target sets up what it needs."
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo
	@echo "ARGS is handed on: make test ARGS='-k convolution'; make bench ARGS='resnet50 --threads 1 2'"

setup: $(DEV)  ## the virtual environment with what demo and test need
	@echo "ready: . $(BIN)/activate && tilewright --help"

demo: $(DEV)  ## compile the example model, run it on held-out digits, verify it, time it
	$(BIN)/python examples/demo.py $(ARGS)

test: $(DEV)  ## the tests, some minutes
	TILEWRIGHT_JOBS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist worksteal $(ARGS)

test-all: $(BENCH)  ## with the slow ones: the full-size models too (exports them, needs torch; an hour)
	$(BIN)/python -m pytest -q -m "slow or not slow" $(ARGS)

bare-install:  ## what pip alone gives: compile for other processors without any compiler, run it in qemu; ARGS=--full-size
	$(PYTHON) tests/bare_install.py build/bare-install $(ARGS)

conformance: $(DEV)  ## all of ONNX's own tests; writes docs/onnx-support.md (10 minutes)
	$(BIN)/python tests/conformance/run.py $(ARGS)

fuzz: $(DEV)  ## random graphs against ONNX Runtime, damaged models and libraries: make fuzz ARGS='--seed 7 --count 100'
	$(BIN)/python tests/fuzz/random_graphs.py $(ARGS)
	$(BIN)/python tests/fuzz/damaged_models.py $(ARGS)
	$(BIN)/python tests/fuzz/damaged_libraries.py $(ARGS)

lint: $(DEV)  ## ruff, rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The repository root is the package: mypy finds it under its name through a link, wherever the checkout is.
typecheck: $(DEV)  ## mypy, strict
	@mkdir -p $(VENV)/typing && ln -sfn "$(CURDIR)" $(VENV)/typing/tilewright
	MYPYPATH=$(VENV)/typing $(BIN)/mypy $(addprefix -p tilewright.,$(TYPED)) $(addprefix -m tilewright.,$(MODULES))

models: $(BENCH)  ## export the benchmark models to build/models (3 GB of memory, 3 GB of disk, some minutes)
	$(BIN)/python -m benchmarks.models $(ARGS)

bench: $(BENCH)  ## time the benchmark models against ONNX Runtime, OpenVINO, PyTorch, IREE, TVM (and LiteRT)
	$(BIN)/python -m benchmarks.compare $(ARGS)

litert: $(VENV)-litert/.installed  ## the environment of LiteRT's converter, which lets `make bench` measure LiteRT too

clean:  ## remove what was built, keep the environment
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean  ## remove the environment too
	rm -rf $(VENV) *.egg-info

# The stamp's name lists the extras that it stands for, joined by +.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	@PYTHON="$(PYTHON)" sh .ci/prerequisites
	@case "$*" in *pytorch*) echo "installing $(TORCH)"; $(PIP) install --quiet $(TORCH);; esac
	@echo "installing tilewright with the extras: $*"
	@$(PIP) install --quiet --editable ".[$(subst +,$(comma),$*)]"
	@touch $@

$(VENV)-litert/.installed: benchmarks/requirements-litert.txt
	@PYTHON="$(PYTHON)" sh .ci/prerequisites
	@echo "making the virtual environment $(@D)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet $(TORCH)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet -r $<
	@touch $@

comma := ,

$(BIN)/python:
	@PYTHON="$(PYTHON)" sh .ci/prerequisites
	@echo "making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
