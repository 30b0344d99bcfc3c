# `make demo` and `make test` each set everything up and need nothing else; the rest is for contributors.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REGBENCH := $(BIN)/regbench
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow test-gpu faults contract lint types boards site format clean

$(STAMP): requirements.txt constraints.txt pyproject.toml datasets/pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements.txt
	touch $@

# The main job on the embedded data: CoLReg trained and judged, beside doing nothing, SIFT, the no-translator control and
# the supervised reference.
demo: $(STAMP)
	$(REGBENCH) evaluate --registrator identity --budget quick --out runs/demo
	$(REGBENCH) evaluate --registrator sift --budget quick --out runs/demo
	$(REGBENCH) run --translator mimgcd --registrator mcnet --strategy colreg --pairing online --out runs/demo
	$(REGBENCH) run --registrator mcnet --strategy self-supervised --pairing online --out runs/demo
	$(REGBENCH) run --registrator mcnet --strategy supervised --pairing online --out runs/demo
	$(REGBENCH) leaderboard add runs/demo/* --board demo --root runs/boards
	$(REGBENCH) leaderboard build --root runs/boards
	@echo "The board is runs/boards/demo.md"

test: $(STAMP)
	$(BIN)/python -m pytest

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

test-gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu

# Every fault on purpose: kills, full disks, damage, hostile files, forged boards, bad inputs. Prints the table of
# docs/reliability.md.
faults: $(STAMP)
	$(BIN)/python -m tests.faults

contract: $(STAMP)
	$(REGBENCH) plugins check

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

boards: $(STAMP)
	$(REGBENCH) leaderboard check

# The pages under docs/ as a site, in site/; a link that leads nowhere fails.
site: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[site]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) data runs site
