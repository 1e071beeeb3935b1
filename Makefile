# What there is to do here. `make` lists it. Needs Rust (rust-toolchain.toml says which), Go, and what Debian has anyway; README.md says what each of
# the two main ones takes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

export CARGO_TARGET_DIR := $(CURDIR)/target

# What is built or fetched once and serves all clones: the control plane of tests, cargo-deny, a Prometheus.
cache := $(or $(TIDEGATE_CACHE),$(HOME)/.cache/tidegate)
tools := $(cache)/tools
deny := cargo-deny@0.20.2
fuzzer := cargo-fuzz@0.13.1

# A cluster of yours is touched only when the command line names it: a KUBECONFIG that happens to be in the environment does not.
ifneq ($(origin KUBECONFIG),command line)
unexport KUBECONFIG
yours :=
else
yours := --kubeconfig '$(KUBECONFIG)' --shop-image '$(SHOP_IMAGE)'
ifeq ($(SHOP_IMAGE),)
$(error SHOP_IMAGE is missing: build one from examples/shop.Dockerfile where your cluster can pull it)
endif
endif

step = @printf '\n== %s\n'

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name what; do printf '  make %-14s %s\n' "$$name" "$$what"; done

.PHONY: demo
demo: ## a good version goes out, a bad one comes back (KUBECONFIG=... SHOP_IMAGE=... for a cluster of yours)
	$(step) 'building the operator, the shop and the demo'
	cargo build --workspace --bins
ifeq ($(yours),)
	$(step) 'building the control plane (seven minutes or so the first time)'
	tests/cluster/build.sh >/dev/null
endif
	$(step) 'the demo'
	target/debug/demo $(yours)

EXAMPLES_SPEED ?= 14400
.PHONY: examples
examples: cluster prometheus ## the runbooks of examples/runbooks, each with a good version and a bad one (EXAMPLES_SPEED=14400 times faster)
	$(step) 'building the operator, the shop and the runbooks'
	cargo build --workspace --bins
	$(step) 'the examples'
	target/debug/runbooks --speed $(EXAMPLES_SPEED)

.PHONY: test
test: test-style test-go cluster test-rust test-generated test-deny ## everything that is checked before a change goes in
	$(step) 'all of it passed'

.PHONY: test-style
test-style: ## formatting
	$(step) 'rustfmt'
	cargo fmt --all --check

.PHONY: test-go
test-go: ## formatting, lints and unit tests of the control plane and the mail server of tests
	$(step) 'gofmt'
	unformatted=$$(gofmt -l tests/cluster tests/mail) && if [ -n "$$unformatted" ]; then echo "gofmt -w: $$unformatted"; exit 1; fi
	$(step) 'go vet'
	# Not the root package, which only starts the others: for it alone all of Kubernetes would be looked through, minutes where nothing is cached.
	cd tests/cluster && go vet $$(go list ./... | sed 1d)
	cd tests/mail && go vet ./...
	$(step) 'go test'
	cd tests/cluster && go test $$(go list ./... | sed 1d)

# Lints are looked at by what builds the tests: `cargo clippy` beside it would go through every dependency once more, without building it.
# CLIPPY_ARGS is how cargo-clippy tells clippy-driver of `-D warnings`.
lints := RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__

.PHONY: test-rust
test-rust: cluster prometheus ## lints and tests, those on the control plane included
	$(step) 'building all targets, with lints'
	# Into a directory of its own: rustc puts its output in the place of what is there, of /dev/null too where root runs this.
	made=$$(mktemp -d) && trap 'rm -rf "$$made"' EXIT && \
	if echo 'pub fn f(v: &[u8]) -> bool { v.len() == 0 }' | $(lints) clippy-driver --crate-type lib --emit metadata --out-dir "$$made" - 2>/dev/null; then \
	  echo 'lints are not looked at: see how cargo-clippy of this toolchain calls clippy-driver'; exit 1; \
	fi
	$(lints) cargo build --workspace --all-targets
	$(step) 'tests'
	$(lints) RUST_TEST_THREADS=6 cargo test --workspace

.PHONY: test-generated
test-generated: ## whether crds/, the chart and install.yaml are what they are generated from
	$(step) 'the CRDs are those of src/api'
	$(lints) cargo build --workspace --all-targets
	made=$$(mktemp -d) && trap 'rm -rf "$$made"' EXIT && target/debug/tidegate crds --out "$$made" && diff -ru crds "$$made"
	diff -ru crds charts/tidegate/files/crds
	$(step) 'install.yaml is what the chart renders'
	charts/render.sh --check
	$(step) 'what the chart refuses'
	charts/refused.sh

.PHONY: test-deny
test-deny: cargo-deny ## licences, sources and versions of dependencies
	$(step) 'cargo deny'
	PATH="$$PATH:$(tools)/bin" cargo deny --all-features check bans licenses sources
	PATH="$$PATH:$(tools)/bin" cargo deny --manifest-path fuzz/Cargo.toml --all-features --locked check bans licenses sources

.PHONY: advisories
advisories: cargo-deny ## known holes in dependencies, by RustSec's database (fetched anew: needs the network)
	$(step) 'cargo deny: advisories'
	PATH="$$PATH:$(tools)/bin" cargo deny --all-features check advisories
	PATH="$$PATH:$(tools)/bin" cargo deny --manifest-path fuzz/Cargo.toml --all-features --locked check advisories

.PHONY: cargo-deny
cargo-deny:
	if ! command -v cargo-deny >/dev/null && [ ! -x $(tools)/bin/cargo-deny ]; then \
	  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
	    env -u CARGO_TARGET_DIR cargo install --locked --root $(tools) $(deny); \
	fi

.PHONY: sim crash crash-real mutants
SEEDS ?= 100000
FIRST ?= 0
sim: ## stories and faults from seeds in a simulated cluster, SEEDS=100000 of them from FIRST=0
	$(step) 'building with optimisation'
	cargo build --package tidegate-sim --profile measured
	$(step) '$@'
	target/measured/sim --seeds $(SEEDS) --first $(FIRST)

crash: ## two dozen stories in it, the operator killed after each of its writes
	$(step) 'building with optimisation'
	cargo build --package tidegate-sim --profile measured
	$(step) '$@'
	target/measured/crash

crash-real: cluster ## the same on the real control plane: operators that live for one write each, for two, ... for seven
	$(step) '$@'
	$(lints) TIDEGATE_ALL_CRASH_POINTS=1 cargo test --package tidegate-real --test stories killed_after_every_single_write -- --nocapture

mutants: ## bugs made on purpose, in a copy of the tree: do the tests notice?
	cargo build --workspace --bins
	$(step) '$@'
	target/debug/mutants

FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: ## fuzz everything that reads foreign bytes (needs a nightly toolchain; FUZZ_SECONDS=60 for each target)
	$(step) 'cargo fuzz'
	if ! command -v cargo-fuzz >/dev/null && [ ! -x $(tools)/bin/cargo-fuzz ]; then \
	  env -u CARGO_TARGET_DIR cargo install --locked --root $(tools) $(fuzzer); \
	fi
	PATH="$$PATH:$(tools)/bin" fuzz/run.sh $(FUZZ_SECONDS)

.PHONY: bench-undo bench-release bench-memory bench-scale
bench-undo: ## how long an undo takes, from the first bad answer (ten minutes)
bench-release: ## what a run and rest cost the API server (three minutes)
bench-memory: ## what the operator keeps in memory (five minutes)
bench-scale: ## 10,000 Releases at rest, 200 runs at once, 100 breaches in the same second (half an hour)
bench-undo bench-release bench-memory bench-scale: cluster
	$(step) 'building with optimisation (five minutes or so the first time)'
	cargo build --workspace --bins --profile measured
	$(step) '$@'
	target/measured/$@

CHAOS_MINUTES ?= 10
.PHONY: chaos
chaos: cluster ## runs among faults at random, on the real control plane (CHAOS_MINUTES=10)
	$(step) 'building'
	cargo build --workspace --bins
	$(step) '$@'
	target/debug/chaos --minutes $(CHAOS_MINUTES)

.PHONY: judge-vectors judge-worlds bench-judge
judge-vectors: ## the judge's formulas against vectors of an independent implementation, with the count
	cargo test --workspace --test without_cluster judge::vectors -- --nocapture

RUNS ?= 10000
judge-worlds: ## what the judge must reach in simulated worlds, and what it reaches (an hour; RUNS=1000: six minutes)
	$(step) 'building with optimisation'
	cargo build --package tidegate-judging --profile measured
	$(step) '$@'
	target/measured/judge-worlds --runs $(RUNS)

bench-judge: ## what one evaluation of the judge costs
	$(step) 'building with optimisation'
	cargo build --package tidegate-judging --profile measured
	$(step) '$@'
	target/measured/bench-judge

.PHONY: crds
crds: ## generate crds/, their copies in the chart, and install.yaml
	cargo build --workspace --bins
	rm -f crds/*.yaml charts/tidegate/files/crds/*.yaml
	target/debug/tidegate crds --out crds
	cp crds/*.yaml charts/tidegate/files/crds/
	charts/render.sh

.PHONY: cluster
cluster: ## build the control plane of tests and demo, once (seven minutes or so the first time)
	$(step) 'building the control plane'
	tests/cluster/build.sh >/dev/null

.PHONY: prometheus
prometheus: ## fetch a Prometheus for tests, once, where there is none
	$(step) 'a Prometheus'
	tests/prometheus/get.sh

.PHONY: clean
clean: ## remove what was built here (what is cached for all clones stays)
	cargo clean
