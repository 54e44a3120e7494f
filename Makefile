# make run: the main job on data that need no download.
# make test: style, types and the tests that take less than six minutes together on two cores.
# make test-all: the same checks and every test, full-size networks and whole experiments too.
# make peers: other simulators in an environment of their own, for experiments/throughput.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := data,export,mnist5k,nir,test

.PHONY: run test test-x64 test-all check docs peers clean

run: .venv/.installed
	$(BIN)/snnjax run $(ARGS)

# Most of the time of a test is compilation, so tests go without XLA's optimisation and with its
# older code generator. Those marked `computes` go with a little optimisation and the code generator
# that users have.
QUICK_XLA := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false

test: check
	XLA_FLAGS="$(XLA_FLAGS) $(QUICK_XLA)" $(BIN)/pytest -m "not slow" $(ARGS)

# The core of the suite with JAX's 64-bit types on: results stay float32.
X64 := tests/snn/test_engines.py tests/snn/test_readout.py tests/test_image_doors.py \
  tests/training/test_stdp.py tests/training/test_plasticity_rules.py tests/conversion/spiking

test-x64: .venv/.installed
	JAX_ENABLE_X64=1 XLA_FLAGS="$(XLA_FLAGS) $(QUICK_XLA)" $(BIN)/pytest -m "not slow" $(X64) $(ARGS)

# PyTorch and Keras are fetched, and types are checked, while tests run that do not need them.
test-all: .venv/.installed
	$(MAKE) --jobs 3 check test-x64 .venv/.frameworks
	XLA_FLAGS="$(XLA_FLAGS) $(QUICK_XLA)" $(BIN)/pytest -m "not computes" $(ARGS)
	XLA_FLAGS="$(XLA_FLAGS) --xla_backend_optimization_level=1" $(BIN)/pytest -m computes $(ARGS)

check: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

.venv/.installed: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

# PyTorch and Keras, which only slow tests need. On Linux the usual index has PyTorch with CUDA, of
# some GB, so PyTorch comes first and from its own index, in the build for CPUs of 200 MB.
.venv/.frameworks: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps --extra-index-url https://download.pytorch.org/whl/cpu torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[keras,torch]"
	touch $@

.venv/.docs: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $@

peers: .venv-peers/.installed

# SpikingJelly alone without what it asks for: of that it needs what peers.txt lists, and its
# torchvision would replace torch by a build for GPUs.
.venv-peers/.installed: experiments/throughput/peers.txt
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	grep -v '^spikingjelly' $< | .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r /dev/stdin
	grep '^spikingjelly' $< | .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r /dev/stdin
	touch $@

clean:
	rm -rf .venv .venv-peers .jax_cache build docs/_build *.egg-info
