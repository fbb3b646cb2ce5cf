# Everything a person types. The environment lives in .venv and is made on first use.
.PHONY: setup demo ssd test torture oldest lint prototxt pycaffe conformance bench clean

PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python

setup: .venv/ready

.venv/ready: setup.py constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

test: setup
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q

# The tests with the oldest versions that setup.py declares, in an environment of their own.
oldest:
	$(PYTHON) -m venv .venv/oldest
	.venv/oldest/bin/pip install --quiet --disable-pip-version-check -c tests/oldest.txt -e '.[dev]'
	OMP_NUM_THREADS=1 .venv/oldest/bin/python -m pytest -q

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

# Regenerate the checked-in nets and solvers.
prototxt: setup
	$(RUN) -m netgen generate

# A C++ Caffe for -engine pycaffe; CUDA=sm_90 for a GPU. About 8 minutes on 2 cores.
CUDA ?=
pycaffe: setup
	$(RUN) tools/build_pycaffe.py $(if $(CUDA),--cuda $(CUDA))

# Our engine against a C++ Caffe: CAFFE_ROOT's, else pycaffe's, else Caffe 1.0's frozen numbers.
# PAGE=docs/CONFORMANCE.md writes that page, which is to come from Caffe 1.0.
PAGE ?=
conformance: setup
	OMP_NUM_THREADS=1 $(RUN) tests/conformance/run.py $(if $(PAGE),--page '$(PAGE)')

# Kills, power cuts (as root), damaged inputs: about 15 minutes on 2 cores; goes on where it
# stopped. ATTACK='--kills 1000 --seed 2' says otherwise, PAGE=docs/RELIABILITY.md writes that page.
ATTACK ?=
torture: setup
	OMP_NUM_THREADS=1 $(RUN) tests/torture/run.py $(ATTACK) $(if $(PAGE),--page '$(PAGE)')

# Speed beside PyTorch by hand, C++ Caffe and programs for inference: bench/RESULTS.md and
# bench/INFERENCE.md. Wants the machine to itself, for under 20 minutes.
bench: setup
	$(RUN) -m bench
	$(RUN) -m bench.inference

# --- demo: the whole path on a quarter-width All-CNN-C, in demo/ ---
# CIFAR10=DIR names the official distribution (archive or folder); without it the archive in
# data/ or the network serves, else synthetic images.
CIFAR10 ?=
DEMO_SEED ?= 1

demo: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" CIFAR10='$(CIFAR10)' SEED=$(DEMO_SEED) sh tools/demo.sh

# A small SSD on drawn images with boxes (docs/ssd): its detection_eval is above 0.9 in the end.
ssd: setup
	[ -d data/boxes/test_lmdb ] || $(RUN) docs/ssd/boxes.py
	mkdir -p snapshots
	$(BIN)/caffe train -solver docs/ssd/solver.prototxt

clean:
	rm -rf demo build .pytest_cache .ruff_cache .mypy_cache .hypothesis
