# Short names for what script/ does; each sets itself up from nothing.
.PHONY: demo test check bench corrupt crash crash-postgres power faults linear model simulate fuzz soak abuse mutants fmt clean

demo: ## Play the quick start on a real daemon
	@script/demo

test: ## Run the tests
	@script/test

check: ## Lint, format, types, layers
	@script/check

bench: ## Measure; see bench/RESULTS.md
	@script/bench

corrupt: ## Flip 65,536 bits of a store, lose pages, and look who notices
	@script/corrupt

crash: ## Kill the daemon 10,000 times and look at what it left
	@script/crash

crash-postgres: ## The same with daemons that share a PostgreSQL, which crashes too
	@script/crash-postgres

power: ## Cut the power of a store 1,000,000 times and look at what is left
	@script/power

faults: ## Make something go wrong at every failpoint, and fill the disk
	@script/faults

linear: ## Look for one order of what many clients saw at once
	@script/linear

model: ## Compare every store and both clients with a model
	@script/model

simulate: ## Run daemons in 20,000 worlds that a seed decides
	@script/simulate

fuzz: ## Feed odd bytes to everything that reads bytes
	@script/fuzz

soak: ## Keep the daemon busy, and see whether it grows
	@script/soak

abuse: ## Ask the API thousands of odd things
	@script/abuse

mutants: ## Make mistakes in the source, and see whether a test notices
	@script/mutants

fmt: ## Format, and fix what can be fixed
	@script/setup lint
	@.venv/bin/ruff format
	@.venv/bin/ruff check --fix

clean: ## Remove everything that can be made again
	rm -rf .venv .hypothesis .import_linter_cache .mutants .mypy_cache .pytest_cache .ruff_cache .schemathesis build dist
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
