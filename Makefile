# make run: start the server · make demo: and the React example · make test: run the tests
# make check: format, lint, types · make lock: pin the dependencies of the image · make attack: attack it · make bench: measure
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

REACT := examples/react
REACT_SOURCES := $(wildcard $(REACT)/*.json $(REACT)/*.html $(REACT)/*.ts $(REACT)/*.js $(REACT)/src/* $(REACT)/public/*)

CLIENT := clients/js
CLIENT_SOURCES := $(wildcard $(CLIENT)/*.json $(CLIENT)/src/*)

NEXT := tests/browser/next

# What only the tests of others' programs need: where nothing may be skipped they are set up, elsewhere not.
EXTRAS := $(if $(filter 1,$(REQUIRE_ALL)),benchmarks/node_modules/.ready $(NEXT)/node_modules/.ready)

.PHONY: setup run demo test check lock format attack bench clean

setup: $(VENV)/.ready node_modules/.ready $(REACT)/node_modules/.ready

$(VENV)/.ready: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is not Python 3.11 or later; name one, as in make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

# The server runs without Node: its demo page then takes the client library from a public CDN, and tests are skipped.
node_modules/.ready: package.json package-lock.json
	@if command -v npm >/dev/null; then \
		echo npm ci && npm ci --no-audit --no-fund --loglevel=error && touch $@; \
	else \
		echo "Node.js is not installed: going on without it"; \
	fi

# The client's types, made from its comments, which are checked on the way; again only after a change, and not without Node.
$(CLIENT)/types/chat.d.ts: node_modules/.ready $(CLIENT_SOURCES)
	@if [ -e $< ]; then \
		echo npm run types in $(CLIENT) && npm run --prefix $(CLIENT) --silent types && touch $@; \
	else \
		echo "Node.js is not installed: the JavaScript client is not checked"; \
	fi

$(REACT)/node_modules/.ready: $(REACT)/package.json $(REACT)/package-lock.json
	@if command -v npm >/dev/null; then \
		echo npm ci --prefix $(REACT) && npm ci --prefix $(REACT) --no-audit --no-fund --loglevel=error && touch $@; \
	fi

# Types, lint and the production build of the React example; again only after a change, and not without Node.
$(REACT)/dist/index.html: $(REACT)/node_modules/.ready $(REACT_SOURCES) $(CLIENT)/types/chat.d.ts
	@if [ -e $< ]; then \
		echo npm run check and build in $(REACT) && \
		npm run --prefix $(REACT) --silent check && npm run --prefix $(REACT) --silent build -- --logLevel warn; \
	else \
		echo "Node.js is not installed: the React example is not checked"; \
	fi

run: setup
	@$(PY) -m socketserver

# The server and the React example, for two people in two tabs; Ctrl-C ends both.
demo: setup $(REACT)/dist/index.html
	@$(PY) $(REACT)/demo.py

test: setup $(EXTRAS)
	$(PY) -m pytest --cov --cov-report=term

# The attacks of docs/reliability.md in full, in about an hour; `make test` runs them shortened. First faults and a million
# fuzzed frames and requests, then whoever has no login, beside a bystander: directly, behind the proxies, without uvloop.
# ATTACK passes arguments on to the latter: make attack ATTACK='--list'
ATTACK_JSON ?= attacks.json
attack: setup $(VENV)/.attack
	WEBSOCKET_TEST_ATTACK=full $(PY) -m pytest -s -p no:cacheprovider tests/chaos/test_fuzz.py tests/chaos/test_fuzz_http.py \
		tests/chaos/test_fuzz_parsers.py tests/chaos/test_flood.py tests/chaos/test_honest_clients.py \
		tests/chaos/test_rolling_restart.py \
		tests/integration/test_hostile.py tests/integration/test_loops_js.py tests/integration/test_time_bounds.py
	PYTHONPATH=.:tests $(PY) -m chaos.attacks --seconds 3 --modes direct,nginx,caddy --loops uvloop,asyncio \
		--json $(ATTACK_JSON) $(ATTACK)

$(VENV)/.attack: $(VENV)/.ready
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[test,attack]'
	touch $@

check: setup $(CLIENT)/types/chat.d.ts $(REACT)/dist/index.html
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

# Pins what the image installs to what is installed here, with hashes: after the tests have passed with it.
lock: setup
	$(PYTHON) -m venv build/lock && build/lock/bin/python -m pip install --quiet uv
	$(PY) -m pip freeze --exclude-editable > build/installed.txt
	build/lock/bin/uv pip compile setup.cfg --constraint build/installed.txt --generate-hashes --universal --no-header \
		--no-annotate --python-version 3.11 --upgrade --quiet --output-file deploy/requirements.txt

format: setup
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

# Measures this server and others in turns, in less than an hour; it wants the machine for itself (docs/performance.md).
# BENCH passes arguments on: make bench BENCH='--turns 1 --seconds 1 --scale 0.1'
bench: setup benchmarks/node_modules/.ready
	$(PY) -m benchmarks --json benchmarks/results/latest.json $(BENCH)

benchmarks/node_modules/.ready: benchmarks/package.json benchmarks/package-lock.json
	npm ci --prefix benchmarks --no-audit --no-fund --loglevel=error
	touch $@

$(NEXT)/node_modules/.ready: $(NEXT)/package.json $(NEXT)/package-lock.json
	npm ci --prefix $(NEXT) --no-audit --no-fund --loglevel=error
	touch $@

clean:
	rm -rf $(VENV) node_modules benchmarks/node_modules $(NEXT)/node_modules $(NEXT)/.next-* $(REACT)/node_modules $(REACT)/dist $(CLIENT)/types build dist *.egg-info .coverage* .mypy_cache .ruff_cache \
		.pytest_cache .hypothesis
