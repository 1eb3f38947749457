# Every target makes .venv when it is missing; none needs root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Extra arguments for pip, e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" for a CPU-only torch.
PIP_ARGS ?=
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: $(STAMP)  ## Create .venv and install the project with everything its tests need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[openvino,training,dev]'
	@touch $(STAMP)

demo: $(STAMP)  ## Segment the bundled sample CT: organ volumes, attention maps and a picture in demo_output/
	$(BIN)/attention-unet segment AttentionUNetSegmentation/Resources/SampleData/SyntheticAbdomenCT.nrrd \
		--output-dir demo_output --overwrite

test: $(STAMP) lint  ## Run the linter and all tests
	$(BIN)/python -m pytest

lint: $(STAMP)  ## Run ruff
	$(BIN)/ruff check .

bench: $(STAMP)  ## Measure a 512 x 512 x 240 CT end to end: seconds per step and peak memory
	$(BIN)/python Testing/benchmark.py

clean:  ## Remove the environment, caches and demo output
	rm -rf $(VENV) demo_output build .pytest_cache .ruff_cache
