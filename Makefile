PYTHON ?= python3
BIN := .venv/bin
export DBT_SEND_ANONYMOUS_USAGE_STATS := false
export DO_NOT_TRACK := 1

.PHONY: run serve test test-all test-spark prove-audit prove-files prove-streams prove-crash prove-faults prove-kill prove-readers prove-replicas prove-alarms prove-destinations prove-answers prove-erasure prove-loop prove-pulls prove-syncs prove-upgrade prove-edits dev lint ruff mypy lock bench bench-scores bench-traits bench-trait-cost bench-publishes bench-source-checks bench-sync bench-serving clean

run: .venv/installed  ## load the bundled sample, refresh, check, publish, sync, show a summary
	@$(BIN)/traithouse run

test: lint  ## before every commit, at most 6 minutes: lint, types, the tests that are not marked long
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not long"

test-all: .venv/installed .venv/fakesnow/installed .venv/clients/installed  ## what `make test` leaves out, at most 30 minutes: faults, random streams, browser, Spark
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m long
	@$(MAKE) --no-print-directory test-spark

test-spark: .venv/installed-spark  ## the same rows, checked and served, on a real Spark cluster; installs its own Java
	@PYTHONPATH=$(CURDIR)/.venv/spark $(BIN)/python -m pytest tests/spark

prove-audit: .venv/installed  ## wrong candidates: which are withheld, the smallest swap that is caught, ordinary days; ARGS="--days 90"
	@$(BIN)/python -m tests.faults.wrong_candidates $(ARGS)

prove-files: .venv/installed  ## ten thousand damaged CSV and JSON files: each record read as other readers do, or refused
	@$(BIN)/python -m tests.faults.files $(ARGS)

prove-streams: .venv/installed  ## thousands of random streams: incremental = full = oracle; STREAMS=5000
	@$(BIN)/python -m tests.streams.trial --streams $(or $(STREAMS),5000)

prove-crash: .venv/installed  ## a refresh killed after each of its steps
	@$(BIN)/python -m tests.streams.crash

prove-faults: .venv/installed  ## all faults: what is broken, what is withheld for it, what the user is told
	@$(BIN)/python -m tests.faults.inject $(ARGS)

prove-kill: .venv/installed  ## SIGKILL at every step of a publish, many of the rest, and random times
	@$(BIN)/python -m tests.faults.kill $(ARGS)

prove-readers: .venv/installed  ## readers in a loop in several processes during a hundred publishes
	@$(BIN)/python -m tests.faults.readers $(ARGS)

prove-replicas: .venv/installed  ## a hundred publishes while two replicas answer, one of them killed and one upgraded
	@$(BIN)/python -m tests.faults.replicas $(ARGS)

prove-alarms: .venv/installed  ## ninety ordinary days, and populations that drop: false alarms and misses
	@$(BIN)/python -m tests.faults.alarms $(ARGS)

prove-destinations: .venv/installed  ## every destination under every fault: acknowledged, dead, lost, duplicated
	@$(BIN)/python -m tests.faults.destinations $(ARGS)

prove-answers: .venv/installed  ## a hundred thousand answers that no vendor documents: none breaks a destination, none acknowledges; and answers without end; ARGS="--answers 5000"
	@$(BIN)/python -m tests.faults.answers $(ARGS) && $(BIN)/python -m tests.faults.endless

prove-erasure: .venv/installed  ## two hundred people with ids of every shape are forgotten, and looked for; ARGS="--people 40"
	@$(BIN)/python -m tests.faults.erasure $(ARGS)

prove-loop: .venv/installed  ## thirty days on which all that was delivered comes back; ARGS="--days 4"
	@$(BIN)/python -m tests.story.loop $(ARGS)

prove-pulls: .venv/installed  ## pulls from Postgres and MariaDB killed at random moments, and pulled again; ARGS="--rows 4000 --kills 2"
	@$(BIN)/python -m tests.faults.pulls $(ARGS)

prove-syncs: .venv/installed  ## syncs killed at random moments while builds are published; ARGS="--kills 120"
	@$(BIN)/python -m tests.faults.syncs $(ARGS)

prove-upgrade: .venv/installed  ## what is published and sent, next to what an earlier version made of the same events; ARGS="--against 4f4a3ef"
	@$(BIN)/python -m tests.upgrade.compare $(ARGS)

prove-edits: .venv/installed  ## every kind of edit of the project after a build: rebuilt where rows can change, else equal; ARGS="--edits 3 --seed 5"
	@$(BIN)/python -m tests.orchestration.transform.edits $(ARGS)

lint: .venv/installed  ## ruff, mypy, sqlfluff
	@$(MAKE) --no-print-directory -j 2 --output-sync=target ruff mypy .venv/sqlfluff

ruff: .venv/installed
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

mypy: .venv/installed
	@$(BIN)/mypy

# What changed since the last lint without a finding; all of it, where a macro or a setting changed.
LINTED := $(shell find models tests/data -name '*.sql')
LINTED_WITH := pyproject.toml .sqlfluffignore $(shell find macros tests/lint_context -name '*.sql' -o -name '*.py')

.venv/sqlfluff: $(LINTED) $(LINTED_WITH)
	@$(BIN)/sqlfluff lint --nocolor --processes 2 $(if $(filter-out $(LINTED),$?),models tests/data,$?) && touch $@

dev: .venv/installed  ## the Dagster UI on http://127.0.0.1:3000
	@$(BIN)/traithouse dev

serve: .venv/installed  ## the API on http://127.0.0.1:8090, on a simulated world that ends today; prints a key and a token
	@TRAITHOUSE_HOME=$${TRAITHOUSE_HOME:-.traithouse-demo} $(BIN)/traithouse serve --demo

lock: .venv/installed  ## pin every version, for every supported Python
	@$(BIN)/python -m pip install -q uv && $(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --upgrade --no-header --no-annotate --no-emit-index-url --no-emit-find-links -q pyproject.toml -o requirements.lock && $(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --extra spark --constraints requirements.lock --no-header --no-annotate --no-emit-index-url --no-emit-find-links -q pyproject.toml | grep -vxFf requirements.lock > requirements-spark.lock

bench: .venv/installed  ## what it costs, as ratios; ARGS=--quick for a trial of five minutes
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r benchmarks/requirements.lock; $(BIN)/python -m benchmarks.bench $(ARGS)

bench-serving: .venv/installed  ## latency of the API at 2,000 requests a second, memory and delay of 2,000 open streams
	@$(BIN)/python -m benchmarks.serving $(ARGS)

bench-traits: .venv/installed  ## how well traits find the simulator's hidden states, beside one-line rules
	@$(BIN)/python -m benchmarks.traits $(ARGS)

bench-trait-cost: .venv/installed  ## what evaluating the traits of a million users costs, as ratios to reading their features
	@$(BIN)/python -m benchmarks.trait_cost $(ARGS)

bench-publishes: .venv/installed  ## what ten publishes of 1% changes write at a million entities
	@$(BIN)/python -m benchmarks.publishes $(ARGS)

bench-source-checks: .venv/installed  ## false alarms and misses of the source checks on 120 ordinary days, and with faults in them
	@$(BIN)/python -m benchmarks.source_checks $(ARGS)

bench-sync: .venv/installed .venv/dlt/installed  ## what syncs cost, next to a simple script and dlt; ARGS="--rows 100000"
	@$(BIN)/python -m benchmarks.syncs $(ARGS)

.venv/dlt/installed: benchmarks/dlt.lock .venv/installed
	@$(PYTHON) -m venv .venv/dlt && .venv/dlt/bin/python -m pip install -qq --disable-pip-version-check -r benchmarks/dlt.lock && touch $@

# Node.js does not read the certificates of the system by itself.
.venv/clients/installed: tests/clients/package-lock.json
	@command -v npm >/dev/null || { echo "There is no npm: install the Debian packages nodejs and npm."; exit 1; }
	@mkdir -p .venv/clients && cp tests/clients/package.json tests/clients/package-lock.json .venv/clients/
	@NODE_EXTRA_CA_CERTS=$${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt} npm ci --prefix .venv/clients --silent --ignore-scripts --no-audit --no-fund --no-update-notifier && touch $@

.venv/fakesnow/installed: tests/fakesnow.lock .venv/installed
	@$(PYTHON) -m venv .venv/fakesnow && .venv/fakesnow/bin/python -m pip install -qq --disable-pip-version-check -r tests/fakesnow.lock && touch $@

bench-scores: .venv/installed  ## how well a scorecard predicts, beside stronger and simpler models on the same rows
	@$(BIN)/python -m benchmarks.scores $(ARGS)

.venv/installed: requirements.lock pyproject.toml
	@echo "Setting up .venv (once)" && $(PYTHON) -m venv .venv && $(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.lock && $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e . && touch $@

.venv/installed-spark: .venv/installed requirements-spark.lock
	@echo "Adding Spark beside .venv's packages (once)" && rm -rf .venv/spark && $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --target .venv/spark -r requirements-spark.lock && touch $@

clean:
	rm -rf .venv .traithouse .test-cache target logs
