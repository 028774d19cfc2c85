# make help says what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo build test lint advisories soak simulate fuzz bench counts perf clean

TARGET := $(or $(CARGO_TARGET_DIR),target)
# One profile for the demo, the tests and the lints, so that aws-lc is built once.
PROFILE := --profile checked
DENY_VERSION := 0.20.2
# A cargo-deny that is installed already serves as well.
export PATH := $(PATH):$(abspath $(TARGET))/tools/bin

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  make demo ONCE=1                 ends by itself'
	@echo '  make demo LISTEN=127.0.0.1:9443  another address'
	@echo '  make simulate SECONDS=60         another duration'
	@echo '  make fuzz ONLY=chain SECONDS=60  one target; its names: chain, crl, hello, ocsp, proxy, ...'
	@echo '  make perf QUICK=1                a few minutes; perf/README.md has all of its variables'
	@echo '  make perf AGREE=1                how the load generator agrees with h2load'
	@echo '  make bench ONLY=relay SECONDS=1  one group, a second for each of its figures'
	@echo '  make counts ACCEPT=1             take the counts as they are now for right'

demo: build ## Build, then show the engine at work with a throwaway PKI until Ctrl-C
	@$(TARGET)/checked/countersign demo $(if $(filter-out 0,$(ONCE)),--once) $(if $(LISTEN),--listen $(LISTEN))

build: ## Build the program: target/checked/countersign
	@.ci/system-packages build
	cargo build --locked $(PROFILE) -p countersign

test: ## Run every test (installs the clients it needs on Debian and Ubuntu)
	@.ci/system-packages test
	cargo build --locked $(PROFILE) -p countersign -p countersign-loadgen -p countersign-perf
	@# 10,000 connections need as many descriptors on the clients' side too.
	@# The benches have no tests, and with criterion's features the program would be built once more.
	ulimit -n "$$(ulimit -Hn)" || true; cargo test --locked --workspace --exclude countersign-bench $(PROFILE)
	@$(MAKE) --no-print-directory counts

lint: ## Check formatting, clippy, documentation, and the dependencies' licences and sources
	@.ci/system-packages build
	@if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then \
		command -v rustup >/dev/null || { echo 'rustfmt or clippy is missing, and there is no rustup to add it' >&2; exit 1; }; \
		rustup component add clippy rustfmt; \
	fi
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets $(PROFILE) -- -D warnings
	@# Private items are documented, so that links to them lead somewhere.
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --locked --workspace --no-deps --document-private-items $(PROFILE)
	@$(require_deny)
	cargo deny --locked check bans licenses sources

advisories: ## Check the dependencies against the RustSec database (needs the network)
	@$(require_deny)
	cargo deny --locked check advisories

soak: ## Run what takes long of the tests from outside: HUP under load for half a minute
	@.ci/system-packages test
	cargo build --locked $(PROFILE) -p countersign
	cargo test --locked $(PROFILE) -p countersign-tests --test wire -- --ignored --nocapture

simulate: ## Run the simulator for SECONDS (600): new seeds, a failure prints its own
	COUNTERSIGN_SIMULATE_SECONDS=$(or $(SECONDS),600) \
		cargo test --locked $(PROFILE) -p countersign-tests --test simulation -- --ignored --exact long --nocapture

fuzz: ## Run the fuzz targets, or ONLY those, for SECONDS (60) each; what fails goes to target/fuzz
	@.ci/system-packages build
	cargo build --locked $(PROFILE) -p countersign-fuzz
	@$(TARGET)/checked/countersign-fuzz $(ONLY) --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) \
		--findings $(TARGET)/fuzz

bench: ## Run the benches of ONLY (all), SECONDS (5) for each figure; built as a release is
	@.ci/system-packages build
	cargo bench --locked -p countersign-bench --bench proto -- \
		$(if $(SECONDS),--measurement-time $(SECONDS) --warm-up-time $(SECONDS)) $(ONLY)

counts: ## Count instructions under valgrind and compare with bench/counts.toml
	@.ci/system-packages build
	cargo build --locked $(PROFILE) -p countersign-bench --bin counts
	@$(TARGET)/checked/counts $(if $(filter-out 0,$(ACCEPT)),--accept)

perf: ## Measure the engine beside its peers (QUICK=1: a few minutes); see perf/README.md
	@.ci/system-packages $(if $(perf_agree),perf,$(if $(VARIANTS),build,perf))
	@$(if $(perf_envoy),perf/install-envoy $(TARGET)/perf/venv)
	cargo build --locked --release $(perf_packages)
	@$(TARGET)/release/countersign-perf $(perf_command) $(perf_settings)

# What is given as a file is not built; VARIANTS='base=FILE;candidate=FILE' compares the engine with itself.
perf_list = $(subst ;, ,$(1))
perf_agree = $(filter-out 0,$(AGREE))
perf_unnamed = $(foreach one,$(call perf_list,$(VARIANTS)),$(if $(findstring =,$(one)),,$(one)))
perf_packages = -p countersign-perf $(if $(LOADGEN),,-p countersign-loadgen) $(if $(perf_agree),,$(perf_engine))
perf_engine = \
	$(if $(if $(VARIANTS),$(perf_unnamed),$(if $(COUNTERSIGN),,needed)),-p countersign) \
	$(if $(if $(ONLY),$(findstring token_,$(ONLY)),$(if $(VARIANTS)$(filter-out 0,$(QUICK)),,all)),-p countersign-test-token)
perf_envoy = $(if $(perf_agree)$(VARIANTS),,$(if $(PEERS),$(filter envoy,$(subst $(comma), ,$(PEERS))),all))
perf_command = $(if $(perf_agree),agree $(if $(NGINX),--nginx '$(NGINX)') $(if $(H2LOAD),--h2load '$(H2LOAD)'),$(perf_systems))
perf_systems = $(if $(VARIANTS),compare $(foreach one,$(call perf_list,$(VARIANTS)),--engine '$(one)') \
	$(foreach one,$(call perf_list,$(EXTRA)),--config-extra '$(one)'),run $(if $(filter-out 0,$(QUICK)),--quick) \
	$(if $(COUNTERSIGN),--engine '$(COUNTERSIGN)') $(if $(PEERS),--peers '$(PEERS)') \
	$(if $(NGINX),--peer 'nginx=$(NGINX)') $(if $(HAPROXY),--peer 'haproxy=$(HAPROXY)') \
	$(if $(ENVOY),--peer 'envoy=$(ENVOY)'))
perf_settings = $(if $(ONLY),--only '$(ONLY)') $(if $(CRYPTO),--crypto '$(CRYPTO)') $(if $(ROUNDS),--rounds $(ROUNDS)) \
	$(if $(SLICE),--slice $(SLICE)) $(if $(SEED),--seed $(SEED)) $(if $(BUSY_MIN),--busy-min $(BUSY_MIN)) $(if $(RUN),--name '$(RUN)') \
	$(if $(SERVER_CPU),--server-cpu $(SERVER_CPU)) $(if $(CLIENT_CPUS),--client-cpus '$(CLIENT_CPUS)') \
	$(if $(TOKEN_CPUS),--token-cpus '$(TOKEN_CPUS)') \
	$(if $(LOADGEN),--loadgen '$(LOADGEN)')
comma := ,

clean: ## Remove everything that was built
	cargo clean

require_deny = command -v cargo-deny >/dev/null || \
	cargo install --locked cargo-deny --version $(DENY_VERSION) --root $(TARGET)/tools
