# Every target makes .venv when it is missing; none needs root. The demo needs no PyTorch and installs none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Extra arguments for pip, e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" for a CPU-only torch.
PIP_ARGS ?=
STAMP := $(VENV)/.installed
CPU_STAMP := $(VENV)/.installed-cpu
VIEW_STAMP := $(VENV)/.installed-view
# Two processes of one thread each; the tests of a file stay together, as they share what is slow to make. Files go in
# order, as xdist would leave those with few tests to the end, which are often slow: one process would wait for the other.
IN_PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
# 3D Slicer on Linux needs a display; without one it gets a virtual one (Debian package xvfb).
DISPLAY_IF_NONE = $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter-out Linux,$(shell uname)),,xvfb-run -a)

.DEFAULT_GOAL := help
.PHONY: help setup demo view test test-fast test-browser lint bench overfit model model-figures slicer-test screenshots clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: $(STAMP)  ## Create .venv and install the project with everything its tests need

$(CPU_STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "Python 3.11 to 3.13 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[cpu]'
	@touch $@

$(VIEW_STAMP): $(CPU_STAMP)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[view]'
	@touch $@

$(STAMP): $(CPU_STAMP)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[cpu,cohort,training,slicer,view,dev]'
	@touch $@

demo: $(CPU_STAMP)  ## Segment the bundled sample CT: organ volumes, attention maps and a picture in demo_output/
	$(BIN)/attention-unet segment AttentionUNetSegmentation/Resources/SampleData/SyntheticAbdomenCT.nrrd \
		--output-dir demo_output --overwrite

view: $(VIEW_STAMP)  ## Open the sample CT, its organs and attention maps in a browser
	$(BIN)/attention-unet view

test: $(STAMP) lint  ## Run ruff, mypy and all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(IN_PARALLEL)

test-fast: $(STAMP)  ## Run the tests that are not marked slow
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(IN_PARALLEL) -m "not slow"

test-browser: $(STAMP)  ## Test the views in a browser; needs Chromium, and a machine that does nothing else
	OMP_NUM_THREADS= $(BIN)/python -m pytest Testing/page

lint: $(STAMP)  ## Run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

overfit: $(STAMP)  ## Does training learn two cases by heart? Minutes on a CPU, not one of the tests
	PYTHONPATH=Testing $(BIN)/python scripts/overfit.py

MAPS ?=
RUNS ?= runs/abdomen_ct
model: $(STAMP)  ## Train the bundled model from label maps, hours on a CPU; goes on where it stopped: make model MAPS=folder
	@test -n "$(MAPS)" || { echo "Say where the label maps are: make model MAPS=folder" >&2; exit 1; }
	PYTHON=$(BIN)/python scripts/train_abdomen_ct.sh "$(MAPS)" "$(RUNS)" all

slicer-test:  ## Run the module's self-test in the real 3D Slicer: make slicer-test SLICER=/path/to/Slicer
	@test -n "$(SLICER)" || { echo "Say where 3D Slicer is: make slicer-test SLICER=/path/to/Slicer" >&2; exit 1; }
	@command -v "$(SLICER)" >/dev/null || { echo "$(SLICER) is not a program" >&2; exit 1; }
	$(DISPLAY_IF_NONE) "$(SLICER)" --testing --no-splash --no-main-window \
		--additional-module-paths "$(CURDIR)/AttentionUNetSegmentation" --python-code "import slicer.testing; \
		slicer.testing.runUnitTest(['$(CURDIR)/AttentionUNetSegmentation'], 'AttentionUNetSegmentation')"

screenshots: $(STAMP)  ## Draw docs/panel.png off screen with the headless host
	PYTHONPATH=Testing $(BIN)/python scripts/screenshots.py

# What MODEL_CARD.md cites. DATA holds the CTs and label maps (real CTs: not part of this repository); MODEL any model.
MODEL ?= abdomen-ct
DATA ?= ../shared/data
CARD ?= runs/model_card
SEEDS ?= 1
SAMPLE := AttentionUNetSegmentation/Resources/SampleData/SyntheticAbdomenCT
ORGANS := --organ pancreas=1 --organ spleen=2
model-figures: $(STAMP)  ## Measure the bundled model for MODEL_CARD.md: make model-figures DATA=folder MAPS=folder
	@test -n "$(MAPS)" || { echo "Say where the label maps of the people held out are: MAPS=folder" >&2; exit 1; }
	rm -rf $(CARD) && mkdir -p $(CARD)
	$(BIN)/attention-unet-train validate --config abdomen_ct.yaml --data.atlas $(MAPS) --data.patches.validation_patches 50 \
		--model.init_from $(MODEL) > $(CARD)/people.md
	cat $(CARD)/people.md
	$(BIN)/attention-unet-train evaluate --model $(MODEL) --time-runs 0 $(ORGANS) --organ kidney=3,4 \
		--ct $(DATA)/ct_abdomen_3mm/ct.nii.gz --labels $(DATA)/ct_abdomen_3mm/labels.nii.gz \
		--data-name "real CT, 3 mm, no contrast; reference: TotalSegmentator v1" \
		--report-dir $(CARD)/real --output $(CARD)/measured.json
	$(BIN)/attention-unet-train evaluate --model $(MODEL) --time-runs 0 $(ORGANS) \
		--ct $(DATA)/ct_dicom_slab/dicom --labels $(DATA)/ct_dicom_slab/labels.nii.gz \
		--data-name "real slab of 40 mm, contrast; reference: TotalSegmentator" \
		--report-dir $(CARD)/slab --output $(CARD)/measured.json
	$(BIN)/attention-unet-train evaluate --model $(MODEL) --time-runs 0 $(ORGANS) --organ kidney=3 \
		--ct $(SAMPLE).nrrd --labels $(SAMPLE).labels.nrrd \
		--data-name "synthetic sample CT of a validation person" \
		--report-dir $(CARD)/sample --output $(CARD)/measured.json
	$(BIN)/attention-unet-train robustness --atlas $(DATA)/atlas --subject s0328 --chest-subject s0011 \
		--model $(MODEL) --seeds $(SEEDS) --output $(CARD)/robustness
	$(BIN)/attention-unet-train attention --ct $(SAMPLE).nrrd --labels $(SAMPLE).labels.nrrd $(ORGANS) \
		--organ kidney=3 $(foreach model,$(SERIES) $(MODEL),--model $(model)) --output $(CARD)/attention

# For docs/performance.md, on a machine that does nothing else; BENCH="--help" lists the options.
BENCH ?=
bench: $(STAMP)  ## Measure networks, whole runs and training steps for docs/performance.md, some 25 minutes
	PYTHONPATH=scripts $(BIN)/python -m benchmark $(BENCH)

clean:  ## Remove the environment, caches and demo output
	rm -rf $(VENV) demo_output build .pytest_cache .ruff_cache .mypy_cache
