# The project's commands; `make help` lists them. Everything local runs in a stack of its own (e2e/stack): a real
# Kubernetes, Kafka, Redis and MariaDB in namespaces of this machine, without Docker.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The stack of demo, shell and cluster-*. `make test` has one of its own, called test.
# Not taken from the environment, where others use the same word.
ifneq ($(origin NAME),command line)
NAME := demo
endif
# `LOCKED=--locked` refuses a Cargo.lock that is not up to date.
LOCKED ?=

TARGET := $(or $(CARGO_TARGET_DIR),target)
STACK := $(TARGET)/debug/stack
export COUPON_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/coupon-operator
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(COUPON_CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)
SCHEMATHESIS_VERSION := 4.32.5
SCHEMATHESIS := $(COUPON_CACHE)/tools/schemathesis-$(SCHEMATHESIS_VERSION)/bin/schemathesis
PROGRAMS := coupon-operator coupon-issuer coupon-consumer
# What is compiled: everything, but for these demos what they run.
BINARIES = --bins
demo: BINARIES = $(addprefix --bin ,$(PROGRAMS) demo)
watch-demo: BINARIES = $(addprefix --bin ,$(PROGRAMS) watch-demo stack-monitoring)
front-demo: BINARIES = $(addprefix --bin ,$(PROGRAMS) front-demo)
route-demo: BINARIES = $(addprefix --bin ,$(PROGRAMS) route-demo)
browser-demo: BINARIES = $(addprefix --bin ,$(PROGRAMS) browser-demo)
SHELL_SCRIPTS = $$(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)

.PHONY: help
help: ## Show this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
		printf '  %-16s %s\n' "$$target" "$$text"; done

.PHONY: demo
demo: image ## Stack, Helm, a campaign of 100, 120 people (first time: some 12 min, mostly compiling; then 10 s)
	@$(STACK) up --name $(NAME)
	@$(STACK) load-image --name $(NAME) $(TARGET)/image/coupon-operator.tar
	@echo 'The stack stays up for the next time; `make cluster-down` ends it.'
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) $(STACK) exec --name $(NAME) -- $(TARGET)/debug/demo

# Faults hurt every part: the stack is of its own, with the options REDIS=sentinel and BROKERS=3, and SECURED=1 for servers with TLS,
# logins and the rights that README lists.
ROUNDS ?= 5
SEED ?= 1
REDIS ?= single
BROKERS ?= 1
SECURED ?=
SERVERS = --redis $(REDIS) --brokers $(BROKERS) $(if $(filter 1,$(SECURED)),--with secured)
CHAOS_OPTIONS ?=
.PHONY: chaos
chaos: image ## ROUNDS=5 sales from SEED=1 on while parts are killed and cut off (some 20 s a round after the start)
	@$(STACK) up --name chaos $(SERVERS)
	@$(STACK) load-image --name chaos $(TARGET)/image/coupon-operator.tar
	@echo 'The stack stays up for the next time; `make cluster-down NAME=chaos` ends it.'
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) $(STACK) exec --name chaos -- $(TARGET)/debug/chaos \
		--rounds $(ROUNDS) --seed $(SEED) --evidence $(TARGET)/chaos $(CHAOS_OPTIONS)

# One long proof, with its options: SCENARIO='kafka-away --minutes 5'.
SCENARIO ?= database-away
.PHONY: outages
outages: image ## SCENARIO=database-away|database-restored|repair-large|kafka-away|suspended|redis-failover|broker-killed|brokers-roll|operator-crash|without (minutes each)
	@$(STACK) up --name outages $(SERVERS)
	@$(STACK) load-image --name outages $(TARGET)/image/coupon-operator.tar
	@echo 'The stack stays up for the next time; `make cluster-down NAME=outages` ends it.'
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) $(STACK) exec --name outages -- $(TARGET)/debug/outages \
		--evidence $(TARGET)/outages $(SCENARIO)

.PHONY: secured
secured: image ## Every password and the authority change during a sale, on servers with TLS, logins and least rights (some 4 min after a build)
	@$(STACK) up --name secured --with secured
	@$(STACK) load-image --name secured $(TARGET)/image/coupon-operator.tar
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) $(STACK) exec --name secured -- $(TARGET)/debug/outages \
		--evidence $(TARGET)/secured secured && status=0 || status=$$?; $(STACK) down --name secured; exit $$status

# The figures of docs/ARCHITECTURE.md, section 5: a line for an empty Redis, for one that lost nothing, and for one that lost a bit.
WINNERS ?= 1000000
.PHONY: repair-bench
repair-bench: install ## WINNERS=1000000 put into Redis by a repair: time, memory, longest hold-up (some 2 min a million after a build)
	@cargo test $(LOCKED) --workspace --no-run --test repair_size
	@$(STACK) up --name repair-bench --without kubernetes
	@COUPON_REPAIR_WINNERS=$(WINNERS) $(STACK) exec --name repair-bench -- \
		cargo test --workspace --offline --test repair_size -- --nocapture && status=0 || status=$$?; \
		$(STACK) down --name repair-bench; exit $$status

# On servers of its own, without Kubernetes, with the programs as they are released. A limit that is not held is reported and no failure;
# ranks, rows and answers that do not fit together are. A full run writes its tables and pictures into docs, too; one with options of its own does not.
QUICK ?=
BENCH_OPTIONS ?=
BENCH_DOCUMENT = $(if $(strip $(QUICK)$(BENCH_OPTIONS)),,--write docs/BENCHMARKS.md)
.PHONY: bench
bench: install ## What answers, rows and rebuilds cost, beside a bare route and a plain design; writes docs/BENCHMARKS.md (some 25 min after a build; QUICK=1: 3 min)
	@echo 'building the programs for release (first time: some 10 min)'
	@cargo build $(LOCKED) --release -p issuer -p consumer -p bench --bins
	@BENCH_COMMAND='make bench$(if $(filter 1,$(QUICK)), QUICK=1)$(if $(BENCH_OPTIONS), BENCH_OPTIONS="$(BENCH_OPTIONS)")' \
		$(TARGET)/release/bench run --programs $(TARGET)/release --output $(TARGET)/bench \
		$(if $(filter 1,$(QUICK)),--quick) $(BENCH_DOCUMENT) $(BENCH_OPTIONS)

# Counts, not times: they are the same on a busy machine, and in programs that are built for tests. A part of `make test`.
.PHONY: bench-smoke
bench-smoke: install ## What answers and rows cost in allocations, statements, commands and bytes, beside what they may (a minute after a build)
	@cargo test $(LOCKED) --workspace --no-run --test smoke
	@$(STACK) up --name bench-smoke --without kubernetes
	@$(STACK) exec --name bench-smoke -- cargo test --workspace --offline --test smoke -- --nocapture && status=0 || status=$$?; \
		$(STACK) down --name bench-smoke; exit $$status

.PHONY: bench-operator
bench-operator: image ## A thousand campaigns and what they cost the operator, in a stack of its own; the last line is JSON (some 6 min)
	@$(STACK) up --name bench
	@$(STACK) load-image --name bench $(TARGET)/image/coupon-operator.tar
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) $(STACK) exec --name bench -- $(TARGET)/debug/bench-operator && status=0 || status=$$?; \
		$(STACK) down --name bench; exit $$status

.PHONY: scale-demo
scale-demo: image ## Slow consumers, a growing lag, and pods that follow it: a timeline and a plot (some 2 min after a build)
	@$(STACK) up --name $(NAME)
	@$(STACK) load-image --name $(NAME) $(TARGET)/image/coupon-operator.tar
	@echo 'The stack stays up for the next time; `make cluster-down` ends it.'
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) $(STACK) exec --name $(NAME) -- $(TARGET)/debug/scale-demo

.PHONY: watch-demo
watch-demo: image ## Every query of every dashboard, and alerts from firing to resolved, in a sale with faults (some 9 min after a build)
	@$(STACK) up --name watch --with monitoring
	@$(STACK) load-image --name watch $(TARGET)/image/coupon-operator.tar
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) $(STACK) exec --name watch -- $(TARGET)/debug/watch-demo && status=0 || status=$$?; \
		$(STACK) down --name watch; exit $$status

.PHONY: test
test: image later-image test-packages ## All tests, those of the cluster included (first time: some 35 min, mostly compiling; then some 12 min)
	@echo 'building the tests (first time: minutes)'
	@cargo test $(LOCKED) --workspace --no-run
	@e2e/scripts/test.sh $(STACK) $(TARGET)/image $(TARGET)/test.log

.PHONY: trials
trials: image later-image ## docs/TRIALS.md in one run: each case against the tests that it names (some 15 min after a build)
	@cargo test $(LOCKED) --workspace --no-run
	@$(STACK) up --name trials
	@$(STACK) load-image --name trials $(TARGET)/image/coupon-operator.tar
	@$(STACK) load-image --name trials $(TARGET)/image/later/coupon-operator.tar
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) COUPON_LATER_IMAGE=$$(cat $(TARGET)/image/later/reference) \
		$(STACK) exec --name trials -- $(TARGET)/debug/trials && status=0 || status=$$?; \
		$(STACK) down --name trials; exit $$status

# Envoy and nginx are installed for this alone. A machine that does much else besides keeps up with fewer than RATE=500.
RATE ?= 500
.PHONY: front-demo
front-demo: image ## A sale behind Envoy: new keys, new pods and forged requests beside RATE=500 requests a second, and attacks on gateways (some 3 min after a build)
	@$(STACK) up --name front --with gateway
	@$(STACK) load-image --name front $(TARGET)/image/coupon-operator.tar
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) $(STACK) exec --name front -- $(TARGET)/debug/front-demo --rate $(RATE) \
		&& status=0 || status=$$?; $(STACK) down --name front >&2; exit $$status

# Contour is built for this alone, the first time (some 3 min).
.PHONY: route-demo
route-demo: image ## Users call status.url: Contour and Envoy lead them in by an HTTPRoute and by an Ingress, with TLS (some 30 s after a build)
	@$(STACK) up --name doors --with contour
	@$(STACK) load-image --name doors $(TARGET)/image/coupon-operator.tar
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) $(STACK) exec --name doors -- $(TARGET)/debug/route-demo \
		&& status=0 || status=$$?; $(STACK) down --name doors >&2; exit $$status

# Chromium is installed for this alone, from Debian, with the driver of the same version.
.PHONY: browser-demo
browser-demo: image ## The page of examples/browser in Chromium, without a screen: winners, reloads, cuts, another origin, a countdown, every code (some 3 min after a build)
	@$(STACK) up --name browser --with browser
	@$(STACK) load-image --name browser $(TARGET)/image/coupon-operator.tar
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) $(STACK) exec --name browser -- $(TARGET)/debug/browser-demo \
		&& status=0 || status=$$?; $(STACK) down --name browser >&2; exit $$status

SECONDS_EACH ?= 12
ATTACK_OPTIONS ?=
.PHONY: attack
attack: image $(SCHEMATHESIS) ## Slow, large, many and odd clients beside 200 honest users a second (some 4 min after a build)
	@$(STACK) up --name attack
	@$(STACK) load-image --name attack $(TARGET)/image/coupon-operator.tar
	@COUPON_IMAGE=$$(cat $(TARGET)/image/reference) $(STACK) exec --name attack -- $(TARGET)/debug/attack \
		--seconds $(SECONDS_EACH) --schemathesis $(SCHEMATHESIS) $(ATTACK_OPTIONS) && status=0 || status=$$?; \
		$(STACK) down --name attack; exit $$status

.PHONY: fmt
fmt: ## Format all Rust code (seconds)
	@cargo fmt --all

.PHONY: lint
lint: install $(CARGO_DENY)/bin/cargo-deny ## Formatting, clippy, licences, scripts, chart, circles of files, unused dependencies, generated files (first time: some 15 min)
	@cargo fmt --all --check
	@cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings
	@$(CARGO_DENY)/bin/cargo-deny --log-level error check bans licenses sources
	@if ! command -v shellcheck >/dev/null; then echo 'shellcheck is missing: apt-get install shellcheck' >&2; exit 1; fi
	@shellcheck $(SHELL_SCRIPTS)
	@helm=$$(ls -t $(COUPON_CACHE)/helm-*/helm | head -n 1); $$helm lint --strict --quiet charts/coupon-operator; \
		$$helm lint --strict --quiet --values charts/coupon-operator/ci/everything-values.yaml charts/coupon-operator
	@cargo build $(LOCKED) --quiet --workspace --bin tidy && $(TARGET)/debug/tidy
	@$(MAKE) check-generated

.PHONY: generate
generate: generators ## Write CRDs and the OpenAPI document from the Rust types (seconds; first time: minutes)
	@$(TARGET)/debug/crdgen
	@$(TARGET)/debug/coupon-issuer openapi > $(TARGET)/openapi.json
	@mv $(TARGET)/openapi.json issuer/openapi.json
	@cp monitoring/rules/coupon.rules.yaml charts/coupon-operator/files/
	@cp monitoring/alertmanager/alertmanager.example.yaml charts/coupon-operator/files/
	@cp monitoring/dashboards/*.json charts/coupon-operator/files/dashboards/

.PHONY: check-generated
check-generated: generators ## Fail if a generated file is stale (seconds; first time: minutes)
	@$(TARGET)/debug/crdgen --check
	@$(TARGET)/debug/coupon-issuer openapi | diff -u issuer/openapi.json - \
		|| { echo 'issuer/openapi.json is stale: run `make generate`' >&2; exit 1; }
	@diff -u monitoring/rules/coupon.rules.yaml charts/coupon-operator/files/coupon.rules.yaml \
		&& diff -u monitoring/alertmanager/alertmanager.example.yaml charts/coupon-operator/files/alertmanager.example.yaml \
		&& diff -ru monitoring/dashboards charts/coupon-operator/files/dashboards \
		|| { echo 'rules, routes or dashboards of the chart are stale: run `make generate`' >&2; exit 1; }

# Every decoder of bytes from outside, with the properties that `make test` checks for 256 cases each.
CASES ?= 100000
.PHONY: fuzz
fuzz: $(STACK) ## CASES=100000 mangled inputs for every decoder (some minutes after a build)
	@cargo test $(LOCKED) --workspace --lib --no-run
	@PROPTEST_CASES=$(CASES) cargo test $(LOCKED) --workspace --lib -- decoders::

# Not a part of lint: the database of advisories is fetched, and changes without a change here.
.PHONY: advisories
advisories: $(CARGO_DENY)/bin/cargo-deny ## Known vulnerabilities of crates, by RustSec's database (needs GitHub; part of a release)
	@$(CARGO_DENY)/bin/cargo-deny --log-level error check advisories \
		|| { echo 'an advisory stands, or the database could not be fetched: see above' >&2; exit 1; }

.PHONY: image
image: build ## The local image and what it is made of, from the programs as built for tests (seconds after a build)
	@e2e/scripts/image.sh $(STACK) $(TARGET)/image $(addprefix $(TARGET)/debug/,$(PROGRAMS))

# What tests take for the next version: pods and operators of both work side by side.
.PHONY: later-image
later-image: build
	@LATER=1 e2e/scripts/image.sh $(STACK) $(TARGET)/image/later $(addprefix $(TARGET)/debug/,$(PROGRAMS))

.PHONY: release-image
release-image: ## IMAGE=..:VERSION BUILD_IMAGE=..@sha256:..: the image of a release, with Docker (docs/RELEASING.md)
	@e2e/scripts/release-image.sh '$(IMAGE)' '$(BUILD_IMAGE)' $(TARGET)/release-image

.PHONY: simulate
simulate: build ## Sales played against the scaling policy and against KEDA + HPA; writes docs/SCALING.md's tables, plots (seconds)
	@$(TARGET)/debug/simulate --svg docs --doc docs/SCALING.md

.PHONY: cluster-up
cluster-up: install ## Start the stack NAME=demo (first time: some 7 min, mostly compiling Kubernetes; then about 10 s)
	@$(STACK) up --name $(NAME)

.PHONY: cluster-status
cluster-status: $(STACK) ## Show the parts of the stack, their addresses and logs (1 s)
	@$(STACK) status --name $(NAME)

.PHONY: cluster-down
cluster-down: $(STACK) ## Stop the stack and remove what it stored, but for its logs (seconds)
	@$(STACK) down --name $(NAME)

.PHONY: shell
shell: $(STACK) ## A shell inside the stack, with kubectl and helm set up
	@$(STACK) shell --name $(NAME)

.PHONY: clean
clean: ## Remove what was built here; the cache of Kubernetes and other tools stays
	@cargo clean

# Steps of the above.

# Needs no Debian package: it installs them. Cargo decides whether there is work to do. As a part of the workspace: alone, what it
# stands on would be compiled with other features, and again with the rest.
.PHONY: $(STACK)
$(STACK):
	@cargo build $(LOCKED) --quiet --workspace --bin stack

# Not a part of what a demo or a stack needs.
.PHONY: test-packages
test-packages: $(STACK)
	@$(STACK) install --test-packages

.PHONY: install
install: $(STACK)
	@$(STACK) install

# The servers are fetched and built meanwhile: neither alone keeps all cores busy.
.PHONY: build
build: $(STACK)
	@$(STACK) install --packages
	@$(STACK) install & servers=$$!; trap 'kill $$servers 2>/dev/null' ERR; \
		echo 'building the programs (first time: some 12 min)'; \
		cargo build $(LOCKED) --workspace $(BINARIES); wait $$servers

# As parts of the workspace: alone, they would be compiled with other features.
.PHONY: generators
generators: install
	@cargo build $(LOCKED) --quiet --workspace --bin crdgen --bin coupon-issuer

$(SCHEMATHESIS):
	@if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then echo 'apt-get install python3-venv' >&2; exit 1; fi
	@echo 'installing schemathesis (some 20 s)'
	@python3 -m venv $(dir $(SCHEMATHESIS)).. && $(dir $(SCHEMATHESIS))pip install --quiet schemathesis==$(SCHEMATHESIS_VERSION)

$(CARGO_DENY)/bin/cargo-deny:
	@echo 'building cargo-deny $(CARGO_DENY_VERSION) (once: about 5 min)'
	@cargo install --locked --root $(CARGO_DENY) cargo-deny@$(CARGO_DENY_VERSION)
