# `make demo` and `make test` each set everything up and need nothing else; the rest is for contributors.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REGBENCH := $(BIN)/regbench
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow test-gpu faults contract lint types boards bench site wheels format clean

$(STAMP): requirements.txt constraints.txt pyproject.toml datasets/pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements.txt
	touch $@

# The main job on the embedded data: CoLReg trained and judged, beside doing nothing, SIFT, the control without a
# translator and the supervised reference. `make demo BUDGET=smoke` shows in a minute that everything works.
BUDGET := quick
DEMO_RUN := $(REGBENCH) run --budget $(BUDGET) --pairing online --out runs/demo --registrator mcnet
DEMO_BOARD := runs/boards/results/demo
demo: $(STAMP)
	@echo "Three trainings, some minutes each, then a page. Ctrl-C stops; the same command goes on."
	$(REGBENCH) evaluate --registrator identity --budget $(BUDGET) --out runs/demo
	$(REGBENCH) evaluate --registrator sift --budget $(BUDGET) --out runs/demo
	$(DEMO_RUN) --strategy colreg --translator mimgcd
	$(DEMO_RUN) --strategy contrast-randomised
	$(DEMO_RUN) --strategy supervised
	mkdir -p $(DEMO_BOARD) && cp leaderboards/demo.toml $(DEMO_BOARD)/board.toml
	$(REGBENCH) leaderboard add runs/demo/* --board demo --root runs/boards
	$(REGBENCH) leaderboard build --root runs/boards
	$(REGBENCH) leaderboard html --root runs/boards --out runs/boards demo
	$(REGBENCH) leaderboard html --out runs/boards campaign
	$(REGBENCH) report runs/demo/*
	@echo "Open runs/boards/demo.html; each run has a page of its own, runs/demo/RUN/report.html"

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

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

# Times of the hot paths; a baseline of another commit is saved by `make bench BENCH=--benchmark-save=NAME`, and
# compared with by `make bench BENCH=--benchmark-compare`.
bench: $(STAMP)
	$(BIN)/python -m pytest --benchmark-columns=min,median,rounds $(BENCH) benchmarks/bench_*.py

# The pages under docs/ as a site, in site/; a link that leads nowhere fails.
site: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[site]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The wheels alone, in a fresh environment, run the main job and pass the suite.
wheels: $(STAMP)
	.ci/wheels $(BIN)/python

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) data runs site
