# make demo, make test: each sets up all it needs on a fresh Debian with Python 3.11 to 3.13.

SUPPORTED := 3.13 3.12 3.11

# The first Python that runs and is supported; a name on PATH alone proves nothing (pyenv's shims). The distribution's
# own comes first: it is built with profile-guided optimisation, which is worth a quarter of the data plane's speed.
PYTHON ?= $(shell for python in /usr/bin/python3 python3 $(addprefix python,$(SUPPORTED)); do \
  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 \
  && command -v $$python && break; done)
VENV ?= .venv
RUN := $(VENV)/bin/python
PYTEST ?= -n 2

TEST_TOOLS := curl wget git go=golang-go openssl systemd-analyze=systemd
IMAGE_TOOLS := buildah mmdebstrap

.PHONY: demo test test-all lint typecheck bench bench-faults fuzz soak-upgrade soak-quota soak-tokens clean help

help:
	@echo 'make demo       real clients through proxyd to an origin that demands a credential'
	@echo 'make test       lint, types and tests with the Python at hand'
	@echo 'make test-all   the same, then the tests with every other supported Python that is found'
	@echo 'make test-catalogue   official clients of every service; some: SERVICES="github npm"'
	@echo 'make crash      1,000 rounds of writers of a vault, killed at random moments'
	@echo 'make bench      proxyd beside its peers'
	@echo 'make bench-faults  proxyd and Envoy while upstreams die, slow down, fail and vanish (root for all of it)'
	@echo 'make soak-upgrade  upgrades under 1,000 open tunnels and 2,000 requests a second: no error'
	@echo 'make soak-quota  a quota while workers and control are killed 50 times: never over'
	@echo 'make soak-tokens  a rotating issuer, two hosts, kills: one refresh for each life of a token, no 401 (5 minutes)'
	@echo 'make fuzz       whatever bytes a peer may send, FUZZ_SECONDS=60 for each target (CPython 3.11 or 3.12)'
	@echo 'make dist       wheel and sdist'
	@echo 'make deb        Debian package, for the release whose Python this is'
	@echo 'make image      container image as an oci-archive (root)'
	@echo 'make test-packaging   package and image built, installed and run, under systemd too (root, some minutes)'
	@echo 'make lint | typecheck | clean'

demo: $(VENV)/.installed
	$(RUN) -m tests.lab.demo

test: lint typecheck
	$(RUN) -m pytest $(PYTEST)

lint: $(VENV)/.installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

typecheck: $(VENV)/.installed
	$(RUN) -m mypy

test-all: test
	@for version in $(SUPPORTED); do \
	  python=$$(.ci/python $$version) || { echo "Python $$version: not found"; continue; }; \
	  $(RUN) -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] == '$$version')" || continue; \
	  echo "Python $$version:"; \
	  $(MAKE) --no-print-directory PYTHON="$$python" VENV=.venv-$$version tests-only || exit 1; \
	done

.PHONY: tests-only
tests-only: $(VENV)/.installed
	$(RUN) -m pytest $(PYTEST)

# The official clients are heavy and want versions of their own, so they have an environment of their own.
SERVICES ?=
CATALOGUE := .venv-catalogue
.PHONY: test-catalogue catalogue-only
test-catalogue:
	$(MAKE) --no-print-directory VENV=$(CATALOGUE) catalogue-only

catalogue-only: $(VENV)/.installed
	$(RUN) -m tests.catalogue.lab.install $(SERVICES)
	$(RUN) -m pytest -m catalogue \
	  $(if $(SERVICES),$(foreach service,$(SERVICES),tests/catalogue/test_$(subst -,_,$(service)).py),tests/catalogue)
	$(RUN) -m proxyd.catalog.reference .

.PHONY: crash
crash: $(VENV)/.installed
	$(RUN) -m tests.vault.steps
	$(RUN) -m tests.vault.crash 1000

bench: $(VENV)/.installed
	$(RUN) -m bench --setup
	$(RUN) -m bench

bench-faults: $(VENV)/.installed
	$(RUN) -m bench --setup
	$(RUN) -m bench.faults

.PHONY: dist deb image test-packaging
dist: $(VENV)/.installed
	$(RUN) -m hatchling build

deb: $(VENV)/.packaging
	PYTHON=$(RUN) packaging/debian/build.sh

image: $(VENV)/.installed
	.ci/tools $(IMAGE_TOOLS)
	PYTHON=$(RUN) packaging/container/build.sh

test-packaging: $(VENV)/.packaging
	.ci/tools $(IMAGE_TOOLS) systemd-nspawn=systemd-container
	$(RUN) -m pytest --timeout 900 packaging/trials

$(VENV)/.packaging: $(VENV)/.installed
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[packaging]'
	touch $@

FUZZ_SECONDS ?= 60
FUZZ_TARGETS := sniff request-head response-head chunked http2-client http2-server http2-fields hpack ipc
fuzz: $(VENV)/.installed
	$(RUN) -c 'import atheris' 2>/dev/null || $(RUN) -m pip install --quiet --disable-pip-version-check 'atheris>=3'
	for target in $(FUZZ_TARGETS); do $(RUN) -m tests.fuzz $$target --seconds $(FUZZ_SECONDS) || exit 1; done

soak-upgrade: $(VENV)/.installed
	$(RUN) -m tests.soak.upgrade

soak-quota: $(VENV)/.installed
	$(RUN) -m tests.soak.quota

soak-tokens: $(VENV)/.installed
	$(RUN) -m tests.soak.tokens

$(VENV)/.installed: pyproject.toml
	@test -n '$(PYTHON)' || { echo 'no Python 3.11, 3.12 or 3.13 is found: apt-get install python3 python3-venv'; exit 1; }
	.ci/tools $(TEST_TOOLS)
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/tools --package python3-venv
	$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-* build dist bench/results .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
