.POSIX:
.PHONY: help venv demo serve test check checks lint types rules suite cover bench torture load compat abuse audit release browser texts js clean

VENV = .venv
PY = $(VENV)/bin/python
PIP = $(PY) -m pip --disable-pip-version-check --quiet
JS = tests/js
ARGS =
# One worker more than there are cores, since tests wait a lot; each has servers of its own.
SHARED = -n auto --maxprocesses 4 --dist worksteal

help:
	@echo 'make demo     the server with a simulated city on this machine (ARGS="--drivers 100")'
	@echo 'make serve    the server with its own PostgreSQL and Valkey (ARGS="--port 8080")'
	@echo 'make test     all tests (ARGS="tests/dispatch -k offer")'
	@echo 'make check    what must pass before a commit: format, lint, types, scripts, all tests, coverage of the rules; needs Node.js'
	@echo 'make cover    all tests, and the lines of the server that none of them runs'
	@echo 'make js       check the scripts in static/: types, linter, unit tests; needs Node.js'
	@echo 'make bench    the benchmarks'
	@echo 'make torture  break nodes, servers and networks under load, and check every promise (ARGS="--minutes 10")'
	@echo 'make load     20,000 drivers, many orders at once, a killed node, reconnects (ARGS="--minutes 60")'
	@echo 'make compat   the tests of the servers on other versions of them, over TLS, through PgBouncer (ARGS="--python python3.13")'
	@echo 'make abuse    attacks on the server, with twenty times as many examples as the tests (ARGS="-k socket")'
	@echo 'make audit    look up known vulnerabilities of the pinned versions; needs a network'
	@echo 'make release  build wheel and sdist in dist/, check both, and test the wheel in an empty environment'
	@echo 'make texts    update the translations, and print how many texts are not translated'
	@echo 'make replay-report  how good dispatch is on real days: docs/dispatch-quality.md (DATA=folder of the days)'
	@echo 'make venv     create the virtual environment for development'
	@echo 'also: lint, types, rules, suite, browser, clean'

venv: $(VENV)/.dev

demo: $(VENV)/.runtime
	$(VENV)/bin/callboard demo $(ARGS)

serve: $(VENV)/.runtime
	$(VENV)/bin/callboard serve $(ARGS)

test: $(VENV)/.dev browser
	$(PY) -m pytest $(SHARED) $(ARGS)

# What needs one core each is done side by side.
check:
	@$(MAKE) -j4 checks rules browser
	@$(MAKE) suite

checks: lint types js

lint: $(VENV)/.dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

types: $(VENV)/.dev
	$(VENV)/bin/mypy

# The one use of npm: nothing of it is built, served or shipped.
js: $(JS)/node_modules/.installed $(VENV)/.dev
	$(JS)/node_modules/.bin/tsc --project $(JS)
	$(JS)/node_modules/.bin/tsc --project $(JS)/workers.json
	$(JS)/node_modules/.bin/tsc --project $(JS)/tests.json
	$(JS)/node_modules/.bin/eslint --config $(JS)/eslint.config.js static clients $(JS)
	node --test $(JS)/*.test.js

# The rules of dispatch are covered to the last branch. To trace the rest too, as `make cover` does, would take its tests a
# third of their time.
rules: $(VENV)/.dev
	$(VENV)/bin/coverage erase
	$(VENV)/bin/coverage run --source=server/dispatch -m pytest tests/dispatch
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report --fail-under=100

# All other tests.
suite: $(VENV)/.dev browser
	$(PY) -m pytest $(SHARED) --ignore=tests/dispatch

# Which lines of the server no test runs.
cover: $(VENV)/.dev browser
	$(VENV)/bin/coverage erase
	$(VENV)/bin/coverage run -m pytest $(SHARED) $(ARGS)
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

bench: $(VENV)/.dev
	$(PY) -m tests.bench $(ARGS)

torture: $(VENV)/.dev
	$(PY) -m tests.torture $(ARGS)

load: $(VENV)/.dev
	$(PY) -m tests.torture.load $(ARGS)

compat: $(VENV)/.dev
	$(PY) -m tests.compat $(ARGS)

abuse: $(VENV)/.dev
	THOROUGHNESS=20 $(PY) -m pytest tests/abuse tests/web/test_schemathesis.py $(ARGS)

texts: $(VENV)/.dev
	$(PY) -m tests.texts

# DATA has a folder for each day, in the format of the public Meal Delivery Routing Problem instances.
replay-report: $(VENV)/.dev
	@[ -n "$(DATA)" ] || { echo 'DATA is missing: make replay-report DATA=folder-of-days' >&2; exit 2; }
	$(PY) -m tests.replay.report "$(DATA)" docs/dispatch-quality.md

# Exit code 1: there are holes. 2: it could not be found out.
audit: $(VENV)/.dev
	$(PY) -m pip --disable-pip-version-check check
	@[ -x $(VENV)/audit/bin/pip-audit ] || { $(PY) -m venv $(VENV)/audit && \
		$(VENV)/audit/bin/python -m pip --disable-pip-version-check --quiet install 'pip-audit>=2.10,<3'; }
	$(PY) -m tests.audit $(VENV)/audit/bin/pip-audit

# Tools of their own, so that what builds a release is no part of what it needs.
release: $(VENV)/.dev
	@[ -x $(VENV)/release/bin/twine ] || { $(PY) -m venv $(VENV)/release && \
		$(VENV)/release/bin/python -m pip --disable-pip-version-check --quiet install 'build>=1.3,<2' 'twine>=7,<8'; }
	$(PY) -m tests.release $(VENV)/release/bin/python

# Debian's Chromium where we may install it, Playwright's own elsewhere. The shell draws a page in half the time.
browser: $(VENV)/.dev
	@if command -v chromium >/dev/null 2>&1 && [ -d /usr/share/fonts/truetype/dejavu ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo 'installing chromium and fonts-dejavu-core'; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core \
			$$(apt-cache show chromium-headless-shell >/dev/null 2>&1 && echo chromium-headless-shell) >/dev/null; \
	else $(VENV)/bin/playwright install chromium; fi

clean:
	rm -rf $(VENV) $(JS)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* dist

$(JS)/node_modules/.installed: $(JS)/package.json
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 18 || (a == 18 && b > 17) ? 0 : 1)' \
		2>/dev/null && command -v npm >/dev/null || { echo 'make js and make check need Node.js 18.18 or newer with npm' \
		'(on Debian: apt-get install nodejs npm); make test does not' >&2; exit 1; }
	npm --prefix $(JS) install --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(VENV)/.runtime: pyproject.toml constraints.txt
	@$(MAKE) $(PY)
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	@$(MAKE) $(PY)
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.runtime $@

$(PY):
	@for python in python3 python3.13 python3.12 python3.11 python3.14; do \
		if "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "making $(VENV) with $$("$$python" --version)"; exec "$$python" -m venv $(VENV); \
		fi; \
	done; \
	echo 'Callboard needs Python 3.11 or newer, with venv (on Debian: apt-get install python3-venv)' >&2; exit 1
