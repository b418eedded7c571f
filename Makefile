# The two commands of the README are `make run` and `make test`; `make help` lists the others.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK   := --constraint requirements.lock
# One BLAS thread: more were slower and erratic on small shared machines.
export OMP_NUM_THREADS ?= 1
# Every process that is started would compile the house anew.
unexport PYTHONDONTWRITEBYTECODE
# Tests wait for half of their time, for clocks and for processes of theirs.
WORKERS ?= $(shell expr 2 '*' $$(getconf _NPROCESSORS_ONLN))

.DEFAULT_GOAL := help
.PHONY: help run up test soak chaos setup train bench bench-accuracy rivals null-test lint format check all clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

$(VENV)/.base: pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the packages (about a minute, once) ..."
	@$(PIP) $(LOCK) --editable .
	@touch $@

# torch first and pinned by the lock: another version would bring gigabytes of CUDA along.
$(VENV)/.full: $(VENV)/.base
	@echo "Installing the training and development packages (a few minutes, once) ..."
	@$(PIP) $(LOCK) torch
	@$(PIP) $(LOCK) --editable '.[train,dev]'
	@touch $@

run: $(VENV)/.base ## one trading loop in the sandbox: three decisions, orders filled, a report
	@$(BIN)/astra run $(ARGS)

up: $(VENV)/.base ## keep every service, the scheduler and the page running
	@$(BIN)/astra up $(ARGS)

setup: $(VENV)/.full ## install everything, torch included

test: $(VENV)/.full ## all tests
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(VENV)/.full ## five hundred tickers through bad hours, on two databases (minutes)
	@$(BIN)/python -m pytest -m soak $(ARGS)

chaos: $(VENV)/.full ## kill workers, break broker and bucket, judge the account; SEEDS=10000 (45 minutes)
	@SEEDS=$(SEEDS) $(BIN)/python -m benchmarks.chaos $(ARGS)

train: $(VENV)/.full ## train the champion again, on a simulated market of another seed
	@$(BIN)/astra train $(ARGS)

bench: $(VENV)/.full ## measure; ONLY=store|forecast|portfolio|execution|pages|cycle
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

bench-accuracy: $(VENV)/.full ## N-BEATS on M4, M3 and Tourism beside the naive methods (ten minutes)
	@$(BIN)/python -m benchmarks.accuracy $(ARGS)

# neuralforecast in an environment of its own, torch first as above; `make bench` uses it if it is there.
$(VENV)-rivals/.done: benchmarks/rivals/requirements.txt
	@$(PYTHON) -m venv $(VENV)-rivals
	@echo "Installing the rivals' packages (a few minutes, once) ..."
	@$(VENV)-rivals/bin/python -m pip install --quiet --disable-pip-version-check $$(grep ^torch== $<)
	@$(VENV)-rivals/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(VENV)-rivals-portfolio/.done: benchmarks/rivals/portfolio.txt
	@$(PYTHON) -m venv $(VENV)-rivals-portfolio
	@$(VENV)-rivals-portfolio/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

rivals: $(VENV)-rivals/.done $(VENV)-rivals-portfolio/.done ## install what the benchmarks compare with

null-test: $(VENV)/.full ## how often skill is on where nothing is planted, and where something is
	@$(BIN)/python -m benchmarks.null_test $(ARGS)

lint: $(VENV)/.full ## ruff, mypy --strict, the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.full ## format the code
	@$(BIN)/ruff check --fix --exit-zero --quiet .
	@$(BIN)/ruff format .

check: lint ## what CI checks before the tests

all: setup test format lint ## install, test, format, lint

clean: ## remove the environment and everything that runs left behind
	rm -rf $(VENV) $(VENV)-rivals $(VENV)-rivals-portfolio var .pytest_cache .mypy_cache .ruff_cache
