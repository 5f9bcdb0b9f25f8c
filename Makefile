# Everything a developer runs. Needs Python (3.10 or later), git and make; the rest is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
DEEPINV ?= .venv-deepinv

BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
RUN := $(BIN)/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo promise test test-all test-slow test-machines test-install test-deepinv dist check docs docs-versions docs-zip fuzz bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: promise $(VENV)/.installed-demo ## train DNN-V and DNN-P on real digits; table and picture in runs/demo
	$(RUN) -m experiments.end_to_end --preset demo --variant flip_shift --jobs 2 --out runs/demo

promise:
	@echo "In some minutes, when pip has its downloads: runs/demo/figure5.png, digits that two networks reconstruct,"
	@echo "runs/demo/metrics.json and a table of how well they do. First the packages, then both trainings side by side."

test: check ## check, then the quick tests, with doctests, README snippets and the docs build
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --dist worksteal

test-all: test test-slow ## test, then the slow tests too

test-slow: $(VENV)/.installed-test ## the long trainings and pictures that test leaves out
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --dist worksteal -m slow

test-machines: $(VENV)/.installed-test ## the quick tests under three other seeds and without vector instructions
	@passed=true; for machine in "--seed-offset 1000" "--seed-offset 2000" "--seed-offset 3000" --plain-cpu; do \
	  echo "$$machine"; OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) -p tests.other_machine $$machine \
	  -m "not slow and not once" || passed=false; done; $$passed

test-deepinv: ## the bridges to deepinv with its newest release, in .venv-deepinv: it brings gigabytes with torchvision
	test -x $(DEEPINV)/bin/python || $(PYTHON) -m venv $(DEEPINV)
	$(DEEPINV)/bin/python -m pip install --no-compile --upgrade deepinv pytest --editable '.[demo,testing]'
	OMP_NUM_THREADS=1 $(DEEPINV)/bin/python -m pytest tests/test_interop.py tests/test_deepinv.py \
	  'tests/test_docs_gallery.py::test_a_script_draws_one_picture[deepinv_loops]'

test-install: $(VENV)/.installed-release ## build wheel and sdist and try them in empty environments; WITH="--help"
	$(RUN) -m tools.install_check $(WITH)

dist: $(VENV)/.installed-release ## build wheel and sdist of a release into dist, and look at them
	rm -rf dist
	$(RUN) -m tools.install_check --keep dist core

check: $(VENV)/.installed-test ## formatting, lint and types
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

docs: $(VENV)/.installed-docs ## build the documentation into docs/_build/html
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

docs-versions: $(VENV)/.installed-docs ## the same of every released version, side by side, into docs/_build/versions
	$(RUN) -m tools.docs_versions

docs-zip: docs ## the documentation as one archive, to be read without a network: docs/_build/phaseret-docs-VERSION.zip
	cd docs/_build && $(abspath $(RUN)) -c "import shutil, phaseret; \
	  print(shutil.make_archive(f'phaseret-docs-{phaseret.__version__}', 'zip', '.', 'html'))"

fuzz: $(VENV)/.installed-test ## look for accidents, a minute for each reader, option and kill; WITH="tif --seconds 1800"
	nice $(RUN) -m tools.fuzz $(or $(WITH),all)

bench: $(VENV)/.installed-demo ## run benchmarks/speed_*.py on one thread, as the processor can and with AVX2 alone
	@set -e; for name in $(notdir $(basename $(wildcard benchmarks/speed_*.py))); do \
	  echo "$$name"; OMP_NUM_THREADS=1 $(RUN) -m "benchmarks.$$name"; \
	  echo "$$name, AVX2"; ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=1 $(RUN) -m "benchmarks.$$name"; done

clean: ## remove .venv, .venv-deepinv, caches, builds and runs
	rm -rf $(VENV) $(DEEPINV) runs build dist docs/_build docs/api docs/auto_gallery .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp per extra of pyproject.toml, so that a second call starts at once. Python compiles what is imported anyway;
# to compile all that is installed takes pip as long as the rest of its work.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)
	$(RUN) -m pip install --no-compile --constraint constraints.txt --editable '.[$*]'
	@touch $@

$(BIN):
	$(PYTHON) -m venv $(VENV)
