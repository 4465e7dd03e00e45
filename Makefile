# make run: start the server · make demo: and the React example · make test: run the tests · make test-all: all of them
# make demo-next: the server and the Next.js example · make client: pack the JavaScript client, for an application
# make types: renew the types of the events in the JavaScript client (clients/js/src/wire.d.ts) · make setup: all that one works with
# make check-url URL=…: why clients cannot connect
# make check: format, lint, types · make lock: pin the dependencies of the image · make attack: attack it · make bench: measure
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

REACT := examples/react
REACT_SOURCES := $(wildcard $(REACT)/*.json $(REACT)/*.html $(REACT)/*.ts $(REACT)/*.js $(REACT)/src/* $(REACT)/public/* examples/shared/*)

CLIENT := clients/js
CLIENT_SOURCES := $(wildcard $(CLIENT)/*.json $(CLIENT)/src/*)

NEXT := examples/next

# What only the tests of others' programs need: where nothing may be skipped they are set up, elsewhere not.
EXTRAS := $(if $(filter 1,$(REQUIRE_ALL)),benchmarks/node_modules/.ready $(NEXT)/node_modules/.ready)

# Twice as many as cores: a test waits as long as it computes.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

# Byte code is kept, whatever the environment says: each of a hundred Pythons would compile the package and the tests again.
unexport PYTHONDONTWRITEBYTECODE

ifeq ($(REQUIRE_ALL),1)
export THOROUGH = 1
COVER := --cov --cov-report= --cov-fail-under=0
COVER_MORE := --cov --cov-append --cov-report=term
endif

.PHONY: setup run types check-url client demo demo-next test test-all check lint typed lock format attack bench clean

setup: $(VENV)/.tests node_modules/.ready $(REACT)/node_modules/.ready

INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --editable
NPM_CI := npm ci --no-audit --no-fund --loglevel=error

# Its last file: an environment that was made in part is made again.
$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is not Python 3.11 or later; name one, as in make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# What the server needs; and with what its tests need too, which is more than it. Whoever has the second has the first.
$(VENV)/.ready: setup.cfg pyproject.toml | $(VENV)/bin/pip
	$(INSTALL) .
	touch $@

$(VENV)/.tests: setup.cfg pyproject.toml | $(VENV)/bin/pip
	$(INSTALL) '.[test]'
	touch $(VENV)/.ready $@

# The client library of the server's demo page; and with the clients of the tests. Without Node, or where nothing can be
# fetched, the server runs all the same: the page then takes the library from a public CDN, and tests are skipped.
node_modules/.demo: package.json package-lock.json
	@if command -v npm >/dev/null; then \
		echo $(NPM_CI) --omit=dev && $(NPM_CI) --omit=dev && touch $@ || \
			echo "The demo page's client library could not be fetched: the page takes it from a CDN"; \
	else \
		echo "Node.js is not installed: going on without it"; \
	fi

node_modules/.ready: package.json package-lock.json
	@if command -v npm >/dev/null; then \
		echo $(NPM_CI) && $(NPM_CI) && touch node_modules/.demo $@; \
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
		echo $(NPM_CI) --prefix $(REACT) && $(NPM_CI) --prefix $(REACT) && touch $@; \
	fi

# The production build of the React example, and its types and lint; again only after a change, and not without Node.
$(REACT)/dist/index.html: $(REACT)/node_modules/.ready $(REACT_SOURCES) $(CLIENT_SOURCES)
	@if [ -e $< ]; then \
		echo npm run build in $(REACT) && npm run --prefix $(REACT) --silent build -- --logLevel warn; \
	else \
		echo "Node.js is not installed: the React example is not built"; \
	fi

$(REACT)/node_modules/.checked: $(REACT)/node_modules/.ready $(REACT_SOURCES) $(CLIENT)/types/chat.d.ts
	@if [ -e $< ]; then \
		echo npm run check in $(REACT) && npm run --prefix $(REACT) --silent check && touch $@; \
	else \
		echo "Node.js is not installed: the React example is not checked"; \
	fi

run: $(VENV)/.ready node_modules/.demo
	@$(PY) -m socketserver

# The events as TypeScript declarations, into a file that is whole or stays as it was: make types TO=../app/src/events.ts
TO ?= $(CLIENT)/src/wire.d.ts
types: $(VENV)/.ready
	@$(VENV)/bin/chat-socketserver types > '$(TO).new' && mv '$(TO).new' '$(TO)' || { rm -f '$(TO).new'; exit 1; }
	@echo '$(TO) has the events of this server'

# make check-url URL=https://chat.example.com CHECK='--origin https://app.example.com'
check-url: $(VENV)/.ready
	@test -n '$(URL)' || { echo "Name the server, as in make check-url URL=http://localhost:3001" >&2; exit 2; }
	@$(VENV)/bin/chat-socketserver check '$(URL)' $(CHECK)

# The server and the React example, for two people in two tabs; Ctrl-C ends both.
demo: $(VENV)/.ready $(REACT)/dist/index.html
	@$(PY) $(REACT)/demo.py

# The server and the Next.js example in development, which compiles as one edits; Ctrl-C ends both.
demo-next: $(VENV)/.ready $(NEXT)/node_modules/.client
	@PATH="$(abspath $(VENV)/bin):$$PATH" npm run --prefix $(NEXT) --silent dev:full

# The client as npm would have it, with its types, for an application elsewhere.
client: node_modules/.ready
	@mkdir -p build && cd $(CLIENT) && npm pack --silent --pack-destination $(abspath build) | \
		sed 's|^|npm install $(abspath build)/|; s|$$| socket.io-client|'

# First on all cores, then one by one what measures the machine. REQUIRE_ALL=1 is for the last word before a release: all
# tests, none skipped for want of a tool, and the coverage of what runs in the tests' own processes.
test: setup $(EXTRAS)
	$(PY) -m pytest --numprocesses=$(WORKERS) --dist=worksteal -m "not alone" $(COVER)
	$(PY) -m pytest -m alone $(COVER_MORE)

test-all: export THOROUGH = 1
test-all: test

# The attacks of docs/reliability.md in full, in about an hour; `make test` runs them shortened. First faults and a million
# fuzzed frames and requests, then whoever has no login, beside a bystander: directly, behind the proxies, without uvloop.
# ATTACK passes arguments on to the latter: make attack ATTACK='--list'
ATTACK_JSON ?= attacks.json
attack: setup $(VENV)/.attack
	WEBSOCKET_TEST_ATTACK=full $(PY) -m pytest -s -p no:cacheprovider tests/chaos/test_fuzz.py tests/chaos/test_fuzz_http.py \
		tests/chaos/test_fuzz_parsers.py tests/chaos/test_flood.py tests/chaos/test_honest_clients.py \
		tests/chaos/test_rolling_restart.py tests/chaos/test_long_histories.py \
		tests/integration/test_hostile.py tests/integration/test_loops_js.py tests/integration/test_time_bounds.py
	PYTHONPATH=.:tests $(PY) -m chaos.attacks --seconds 3 --modes direct,nginx,caddy --loops uvloop,asyncio \
		--json $(ATTACK_JSON) $(ATTACK)

$(VENV)/.attack: $(VENV)/.tests
	$(INSTALL) '.[test,attack]'
	touch $@

# Each for itself, so that make -j does them beside each other.
check: $(CLIENT)/types/chat.d.ts $(REACT)/node_modules/.checked $(REACT)/dist/index.html lint typed

lint: setup
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .

typed: setup
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
	$(NPM_CI) --prefix benchmarks
	touch $@

$(NEXT)/node_modules/.ready: $(NEXT)/package.json $(NEXT)/package-lock.json
	$(NPM_CI) --prefix $(NEXT)
	touch $@

# It has a copy of the client, which npm would not look at again.
$(NEXT)/node_modules/.client: $(NEXT)/node_modules/.ready $(CLIENT)/types/chat.d.ts
	rm -rf $(NEXT)/node_modules/chat-socketserver-client
	npm install --prefix $(NEXT) --no-audit --no-fund --loglevel=error
	touch $@

clean:
	rm -rf $(VENV) node_modules benchmarks/node_modules $(NEXT)/node_modules $(NEXT)/.next $(REACT)/node_modules $(REACT)/dist $(CLIENT)/types build dist *.egg-info .coverage* .mypy_cache .ruff_cache \
		.pytest_cache .hypothesis
