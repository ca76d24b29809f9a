# One environment (.venv), one profile (release), one target folder: torch-sys takes minutes to build, so it is built once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUST := Cargo.toml Cargo.lock build.rs .cargo/config.toml $(shell find src -name '*.rs')
PACKAGE := $(shell find python -name '*.py*' -not -name '*.pyc' -o -name '*.html') $(wildcard python/cagan/weights/*)

# torch-sys asks the python on PATH for torch; maturin installs into VIRTUAL_ENV. Nobody has to activate anything.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

# The second build of the core: `make band` brings its torch, and `make wheel` then builds for both.
BAND := target/torch-2.13
IN_BAND := cd bands/2_13 && PATH=$(CURDIR)/$(BAND)/bin:$$PATH VIRTUAL_ENV=$(CURDIR)/$(BAND) \
	CARGO_TARGET_DIR=$(CURDIR)/target/bands/2.13

# maturin's settings for PyO3, once there are some: cargo compiles PyO3 anew whenever they change.
PYO3 := $(patsubst %,PYO3_CONFIG_FILE=$(CURDIR)/%,$(firstword $(wildcard target/maturin/pyo3-config-*)))

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint fmt core build types python bench golden weights notebooks docs torch band wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## a page of swaps after some seconds, and a model of your own in some minutes; installs no test tools
	$(BIN)/cagan demo

test: lint core wheel types python ## check everything, cheapest first

lint: $(VENV)/tools ## formatting and lints of Rust and Python
	cargo fmt --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(PYO3) cargo clippy --release --all-targets --all-features -- -D warnings

fmt: $(VENV)/tools ## format Rust and Python
	cargo fmt
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

core: $(VENV)/tools ## tests of the Rust core
	cargo test --release

build: $(VENV)/built ## the extension module, into .venv

types: build $(VENV)/tools ## types of the package, and its stubs against the built module
	$(BIN)/mypy
	$(BIN)/stubtest cagan._cagan

python: build $(VENV)/tools ## tests of the Python package
	$(BIN)/pytest

bench: build $(VENV)/tools ## time cagan against PyTorch: steps, data, swaps, import, checkpoints
	$(BIN)/python benchmarks/run.py

golden: build $(VENV)/tools ## rewrite the recorded values
	$(BIN)/python tests/golden/make_golden.py

weights: build ## train the weights of the package on dolls, with their card (an hour or more)
	$(BIN)/python tools/doll_weights.py --images 20000

notebooks: build $(VENV)/notebooks ## run the notebooks and keep their outputs
	rm -rf notebooks/data notebooks/runs  # a run of older networks would go on
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

docs: build $(VENV)/docs ## build the site into target/site
	$(BIN)/mkdocs build --strict

torch: dist/.built ## test the wheel with another torch (4.5 GB on the way): make torch TORCH=2.12.1
	rm -rf target/torch-other
	$(PYTHON) -m venv target/torch-other
	sed -n -e '/^test = \[/,/^\]/p' pyproject.toml | grep -o '"[^"]*"' | \
		xargs target/torch-other/bin/pip install torch==$(TORCH) dist/*.whl
	$(BIN)/python tools/torch_bands.py dist/*.whl target/torch-other/lib/python*/site-packages/torch
	$(if $(filter 2.11.% 2.12.%,$(TORCH)),,$(IN_BAND)) \
		LD_LIBRARY_PATH=$$(echo $(CURDIR)/target/torch-other/lib/python*/site-packages/torch/lib) \
		cargo test --release --test core golden
	target/torch-other/bin/pytest
	rm -rf target/torch-other

band: $(BAND)/made ## bring torch 2.13 (4.5 GB) for the wheel's second build: torch 2.13 to 2.15

wheel: dist/.built ## build a wheel into dist/, for the torch of .venv and for that of `make band` if it is there

clean: ## remove everything that was built
	rm -rf $(VENV) target dist .mypy_cache .pytest_cache .ruff_cache python/cagan/*.so

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "cagan needs Python 3.10 or newer, and PYTHON=$(PYTHON) is not: try make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The build runs without isolation, so its requirements are installed here, with the package's own. cargo does not see
# that torch changed or moved: torch-sys is cleaned then.
$(VENV)/made: pyproject.toml | $(BIN)/python
	sed -n -e '/^requires = /p' -e '/^dependencies = \[/,/^\]/p' pyproject.toml | \
		grep -o '"[^"]*"' | xargs $(BIN)/pip install
	@mkdir -p target
	@$(BIN)/python -c 'import torch; print(torch.__version__, torch.__file__)' > target/torch.new
	@if [ -e target/torch ] && ! cmp -s target/torch target/torch.new; then cargo clean --release -p torch-sys; fi
	@mv target/torch.new target/torch
	@touch $@

$(VENV)/built: $(VENV)/made $(RUST)
	PIP_QUIET=1 $(BIN)/maturin develop --release
	@touch $@

# Where patchelf is installed, `maturin develop` writes this machine's folders into the library: link it anew then.
dist/.built: $(VENV)/built $(PACKAGE) README.md LICENSE-MIT LICENSE-APACHE $(wildcard $(BAND)/made bands/2_13/Cargo.*)
	rm -rf dist
	@if command -v patchelf > /dev/null; then rm -f target/release/libcagan.so target/release/deps/libcagan*.so; fi
	$(BIN)/maturin build --release --out dist
ifneq ($(wildcard $(BAND)/made),)
	$(IN_BAND) cargo rustc --release --lib --features python --crate-type cdylib -- -C strip=symbols
	$(BAND)/bin/python tools/fat_wheel.py dist/*.whl torch_2_13 target/bands/2.13/release/libcagan.$(if \
		$(filter Darwin,$(shell uname)),dylib,so)
endif
	@touch $@

$(BAND)/made:
	$(PYTHON) -m venv $(BAND)
	$(BAND)/bin/pip install torch==2.13.0 numpy wheel
	@touch $@

# The extras `test`, `notebooks` and `docs`. The build's torch is named with them: alone, lpips draws the newest torchvision
# and that another torch, under a core that was built against this one.
$(VENV)/tools $(VENV)/notebooks $(VENV)/docs: pyproject.toml | $(VENV)/made
	sed -n -e '/^requires = /p' -e '/^$(subst tools,test,$(@F)) = \[/,/^\]/p' pyproject.toml | \
		grep -o '"[^"]*"' | xargs $(BIN)/pip install
	@touch $@
