# Every target sets up what it needs: a virtual environment in .venv with the versions of constraints.txt.
#
#   make test         the project's tests
#   make check        lint, types and tests
#   make demo         from a real recording to embeddings, in one to three minutes on two cores
#   make test-peer    transformers' own test suite for models and feature extractors, run on ours
#
# PYTHON       the Python (3.11 or newer) that makes .venv
# TORCH_INDEX  a package index for torch alone (README, "Install", says when to use it)
# DEMO         where the demo puts its results (default: demo)

PYTHON ?= python3
TORCH_INDEX ?=

BIN := .venv/bin
READY := .venv/ready
DEMO ?= demo
RECORDING := build/recording/py_neuromodulation
PEER := build/peer

.PHONY: setup test test-peer lint types check demo clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "brainbert needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt neuroprobe # it declares torchvision, which it never imports
	@touch $@

test: setup
	$(BIN)/pytest -n auto --dist loadfile

# The suite is not in the installed package: it comes from the source distribution of the same version.
$(PEER)/ready: $(READY)
	rm -rf $(PEER)
	mkdir -p $(PEER)/transformers_tests
	$(BIN)/pip download --quiet --no-deps --no-binary transformers --constraint constraints.txt --dest $(PEER) transformers
	tar -xzf $(PEER)/transformers-*.tar.gz -C $(PEER)/transformers_tests --strip-components=2 "$$(cd $(PEER) && basename transformers-*.tar.gz .tar.gz)/tests"
	@touch $(PEER)/transformers_tests/__init__.py $@

test-peer: $(PEER)/ready
	PYTHONPATH=$(PEER) $(BIN)/pytest -n auto tests/peer

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not follow the renaming of an editable install, so it is shown the installed names as links.
types: setup
	@mkdir -p build/types/brainbert
	@for folder in modeling_brainbert processing hub_upload; do ln -sfn ../../../$$folder build/types/brainbert/$$folder; done
	MYPYPATH=build/types $(BIN)/mypy -p brainbert

check: lint types test

# The recording ships inside a package on PyPI: only its files are wanted, none of its code is run.
$(RECORDING): constraints.txt $(READY)
	rm -rf $@
	$(BIN)/pip install --quiet --no-deps --no-compile --constraint constraints.txt --target $(dir $@) py_neuromodulation
	@touch $@

demo: $(RECORDING)
	$(BIN)/python examples/demo.py $(RECORDING)/data --out $(DEMO)

clean:
	rm -rf .venv build *.egg-info
