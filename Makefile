# Every command of this repository. `make demo` and `make test` work on a fresh clone; nothing needs root.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The first Python on PATH that is new enough; `make PYTHON=/path/to/python3.12 demo` names another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; exit; }; done; echo python3)
# Test processes. More than four gain nothing: the cluster tests start processes of their own.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n > 4 ? 4 : n)))
# `make test TESTS=tests/net` runs a part; ARGS goes to the command as it stands.
TESTS ?= tests
# What `make anvil` plays: the quick ones of those that lean on the chain.
ANVIL_SCENARIOS ?= client-vanishes provider-vanishes two-deals-one-slot gas-spike reorg
ARGS ?=

# From which commit a source counts as changed: where this branch left the main one, or the last commit.
SINCE ?= $(shell base=$$(git merge-base HEAD origin/main 2>/dev/null || true); \
	[ -n "$$base" ] && [ "$$base" != "$$(git rev-parse HEAD)" ] && echo "$$base" || \
	git rev-parse --quiet --verify HEAD~1 || echo HEAD)

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
SET_UP := $(PYTHON) requirements/bootstrap.py
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header
OURS := --prerelease=allow --override requirements/overrides.txt

.PHONY: help
help:  ## list every command
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo:  ## a stranger's job, run for money between real processes on this machine
	@$(SET_UP) demo
	@$(BIN)/mesh devnet demo $(ARGS)

.PHONY: test
test:  ## the test suite that needs nothing but Python packages
	@$(SET_UP) dev
	@rm -f .pytest_cache/v/cache/lastfailed
	$(PYTEST) -n $(JOBS) --dist loadscope -m "not slow and not anvil and not gpu and not interop" $(TESTS) $(ARGS)

.PHONY: again
again:  ## the few tests that failed last time, by themselves, three times: does each depend on its company?
	@$(BIN)/python -c 'import json; print(*json.load(open(".pytest_cache/v/cache/lastfailed")), sep="\n")' \
		> .pytest_cache/again
	@failed=$$(grep -c . .pytest_cache/again); ((failed <= 3)) || { echo "again: $$failed failed: no accident" >&2; exit 1; }
	@for turn in 1 2 3; do $(PYTEST) @.pytest_cache/again; done
	@echo "again: these pass by themselves; that they failed in company is a defect to mend:"
	@cat .pytest_cache/again

.PHONY: lint
lint:  ## format, rules, types, direction of imports, spelling; reports all before it fails
	@$(SET_UP) dev
	@red=""; \
	check() { echo "== $$*"; "$(BIN)/$$@" || red="$$red $$1"; }; \
	check ruff format --check --quiet .; \
	check ruff check --quiet .; \
	check mypy; \
	check mypy requirements/bootstrap.py; \
	check lint-imports --no-cache --no-logo; \
	check codespell; \
	if [ -n "$$red" ]; then echo "lint: red:$$red" >&2; exit 1; fi

.PHONY: format
format:  ## rewrite the sources in the house format
	@$(SET_UP) dev
	@$(BIN)/ruff format . && $(BIN)/ruff check --quiet --fix .

.PHONY: full
full: lint contracts interop anvil  ## everything, at full length: slow tests, long random searches, every figure
	MESH_FULL=1 $(PYTEST) -n $(JOBS) --dist loadscope --timeout 1800 \
		-m "not gpu and not interop and not anvil" $(TESTS) $(ARGS)
	@$(MAKE) bench

.PHONY: gpu
gpu:  ## the tests that need an NVIDIA GPU and the extra cuda12 or cuda13
	@$(SET_UP) dev
	$(PYTEST) -m gpu $(TESTS) $(ARGS)

.PHONY: bench
bench:  ## every figure of docs/benchmarks.md, measured here
	@$(SET_UP) dev
	@$(BIN)/mesh devnet bench --list | while read -r name about; do \
		$(BIN)/mesh devnet bench "$$name" $(ARGS) </dev/null; done

.PHONY: docs
docs:  ## write the reference pages anew from the code
	@$(SET_UP) dev
	@$(BIN)/python -m devnet.docs docs/reference

.PHONY: contracts
contracts: export PATH := $(CURDIR)/$(BIN):$(PATH)
contracts:  ## artifacts rebuilt and compared; slither, halmos, forge; a few planted bugs
	@$(SET_UP) dev
	@$(SET_UP) node
	@$(SET_UP) contracts
	@sh protocols/contracts/toolchain/check.sh --build-info build/contracts
	@$(BIN)/python -m tests.contracts.analysis $(ARGS)
	@$(BIN)/python -m tests.contracts.mutants --changed-since "$(SINCE)" --more 5 --within 75

.PHONY: mutants
mutants:  ## plant bugs in the contracts, one at a time; the tests must notice each
	@$(SET_UP) dev
	@$(SET_UP) node
	@test -d node_modules/solc || PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.contracts.mutants $(ARGS)

.PHONY: sim-mutants
sim-mutants:  ## plant bugs in the rules, one at a time; simulated histories must break over each
	@$(SET_UP) dev
	@$(BIN)/python -m devnet.sim.hunt $(ARGS)

.PHONY: anvil
anvil: export PATH := $(CURDIR)/$(BIN):$(PATH)
anvil:  ## the fast chain: its tests, and scenarios in which a party or the chain itself misbehaves
	@$(SET_UP) dev
	@$(SET_UP) node
	@test -e node_modules/.bin/anvil || npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	$(PYTEST) -m anvil tests/chain tests/devnet
	@$(BIN)/mesh devnet scenario $(ANVIL_SCENARIOS) --chain anvil -o json $(ARGS)

.PHONY: interop
interop:  ## js-libp2p joins the network
	@$(SET_UP) dev
	@$(SET_UP) node
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PYTEST) -m interop $(TESTS) $(ARGS)

.PHONY: setup
setup:  ## make .venv with everything a contributor needs; the other commands do it by themselves
	@$(SET_UP) dev

.PHONY: lock
lock:  ## resolve requirements/*.in anew into the lock files with hashes
	@$(SET_UP) dev
	@$(COMPILE) $(OURS) $(ARGS) requirements/dev.in -o requirements/dev.txt
	@# The smaller sets take the versions of the largest, so that going from one to the next changes none.
	@for set in build runtime devnet node; do \
		$(COMPILE) $(OURS) -c requirements/dev.txt requirements/$$set.in -o requirements/$$set.txt; done
	@$(COMPILE) $(ARGS) requirements/contracts.in -o requirements/contracts.txt

.PHONY: clean
clean:  ## remove everything that these commands made here; fetched wheels stay in the user's cache
	rm -rf .venv .venv-contracts build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . '(' -name __pycache__ -o -name node_modules ')' -prune -exec rm -rf {} +
