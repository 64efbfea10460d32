# Two commands on a fresh machine: `make demo` and `make test`. Both do all their own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
MINUTES ?= 30
INPUTS ?= 10000000
TOGETHER ?= 3

# Shares side by side, the rest of the slower ones shared out; three, for two cores: many a test waits for a broker.
# Two where tests start Apache Kafka, which takes a core. `TOGETHER=0` runs one test after the other.
SIDE_BY_SIDE = --numprocesses $(TOGETHER) --dist worksteal

# Some containers set it. Then each share of the tests compiles all modules anew: 15 s of a core instead of 7.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo pages render quick test test-all test-full test-grafana lint bench soak fuzz audit advisories lock

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) cannot make a virtual environment; on Debian, install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install
	@$(BIN)/touchpoint demo $(ARGS)

# Prometheus and Alertmanager beside the demo, and every page printed; installs the two (Debian, root).
pages: install
	@deploy/install-test-programs prometheus prometheus-alertmanager
	@$(BIN)/python -m deploy.alerting $(ARGS)

# What is generated from the shipped journey file.
render: install
	$(BIN)/touchpoint render monitor/journey.yaml --out .

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.readable

# A first green in a minute: no test that starts a process (tests/kit/starting.py finds those) or computes for seconds.
quick: lint
	$(BIN)/pytest -m "not full and not process and not long" $(SIDE_BY_SIDE) $(ARGS)

# Everything that needs nothing but Python packages.
test: lint
	$(BIN)/pytest -m "not full" $(SIDE_BY_SIDE) $(ARGS)

# Adds Apache Kafka, Prometheus, Alertmanager, Chromium and ../shared/data, and installs those (Debian, root).
test-all: test test-full

test-full: TOGETHER = 2
test-full: install
	deploy/install-test-programs
	$(BIN)/pytest -m full $(SIDE_BY_SIDE) $(ARGS)

# Faults of the demo in a running Grafana of your own, and pictures of its boards: see tests/README.md.
test-grafana: install
	@test -n "$(GRAFANA)" || { echo "make: give its address, as GRAFANA=http://127.0.0.1:3000" >&2; exit 1; }
	deploy/install-test-programs
	$(BIN)/python -m tests.real_grafana $(GRAFANA) --pictures .cache/boards $(ARGS)

bench: install
	$(BIN)/python -m tests.bench $(ARGS)

# Faults under load on three brokers of Apache Kafka, 30 minutes unless told otherwise. Each broker has a network
# namespace: Debian, root, Java 17 and Prometheus (deploy/install-test-programs).
soak: install
	$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

# Coverage-guided inputs to a whole worker. Atheris is not locked: its wheels are for Linux on x86-64 only.
fuzz: install
	$(BIN)/pip install --quiet --disable-pip-version-check --only-binary :all: 'atheris>=3,<4'
	$(BIN)/python -m tests.fuzz --inputs $(INPUTS) $(ARGS)

# Known holes of what is locked, by the advisories that are committed; it prints their date and asks nobody.
audit: install
	$(BIN)/python -m deploy.audit

# Those advisories anew, from PyPA's database; after `make lock` and from time to time.
advisories: install
	@rm -rf .cache/advisories
	git clone --quiet --depth 1 https://github.com/pypa/advisory-database .cache/advisories
	$(BIN)/python -m deploy.audit --renew .cache/advisories

# No package host is named in the lock file: hashes are enough.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --all-extras --output-file requirements.lock pyproject.toml
