# Everything a person types. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help build run demo test upgrade lint bench sim replay bugs mutants fuzz bless dist clean cargo

CARGO := $(shell command -v cargo 2>/dev/null || { test -x $$HOME/.cargo/bin/cargo && echo $$HOME/.cargo/bin/cargo; })
SEEDS ?= 2000
FROM ?= 1
LEVEL ?= pure
N ?= 40
SIM_pure = $(CARGO) run --release --locked -q -p orbit-sim --
# Its own flags are in that folder, and others would replace them.
SIM_daemons = cd sim/daemons && env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_RUSTFLAGS \
	$(CARGO) run --release --locked -q --

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One line that says what to install, and nothing is begun.
cargo:
	$(if $(CARGO),,$(error cargo is needed: install Rust 1.95 or newer, as https://rustup.rs says))
	$(if $(shell command -v cc),,$(error a C compiler is needed to link: apt-get install gcc libc6-dev))
	@:

build: cargo ## build the three programs, in release
	$(CARGO) build --release --locked -p orbit -p orbit-manager -p orbit-worker

run: cargo ## manager and worker on this machine (= orbit dev)
	$(CARGO) run --locked -q -p orbit -- dev

demo: cargo ## three web servers, one killed and replaced (KEEP=1 leaves them up)
	@examples/demo

test: cargo ## every test; sets up a Docker engine where it may
	@.ci/test

upgrade: cargo ## the daemons of an earlier commit beside these (PREVIOUS=commit)
	@.ci/upgrade $(PREVIOUS)

lint: cargo ## formatting, clippy and rustdoc, warnings denied, also under madsim; that each mutation applies and compiles; licences of dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	cd sim/daemons && $(CARGO) fmt --check
	cd fuzz/targets && $(CARGO) fmt --check
	cd sim/daemons && env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_RUSTFLAGS \
		$(CARGO) clippy --locked --all-targets -- -D warnings
	@# Who reads these pages has the source: a link to a private item is of use.
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' $(CARGO) doc --locked --no-deps --workspace --quiet
	$(CARGO) run --locked -q -p orbit-mutants -- check
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked --offline check bans licenses sources; \
		else echo "lint: cargo-deny is not installed, so licences and sources were not looked at (cargo install cargo-deny --locked)"; fi

bench: build ## every figure with its goal and what it was measured against
	@.ci/engine >/dev/null || true
	@examples/web/image >/dev/null || true
	$(CARGO) run --release --locked -q -p orbit-bench
	$(SIM_pure) goals

# The daemons live through a tenth as many.
sim: cargo ## SEEDS=2000 seeds of the pure world, a tenth of the daemons', and every crash point; FROM=1
	$(SIM_pure) goals
	@set -e; once=$$($(SIM_pure) hash); again=$$($(SIM_pure) hash); debug=$$($(CARGO) run --locked -q -p orbit-sim -- hash); \
		echo "trace hash of seeds 1 to 20: $$once, in another process $$again, in a debug build $$debug"; \
		test $$once = $$again && test $$once = $$debug
	$(SIM_pure) crash-points
	$(SIM_pure) run --seeds $(SEEDS) --from $(FROM)
	$(SIM_daemons) run --seeds $$((($(SEEDS) + 9) / 10)) --from $(FROM)

replay: cargo ## one seed with every event: SEED=n, LEVEL=pure or daemons
	$(if $(SIM_$(LEVEL)),,$(error LEVEL is pure or daemons))
	$(if $(SEED),,$(error SEED=n is needed: the seed to replay))
	$(SIM_$(LEVEL)) replay $(SEED)

bugs: cargo ## SEEDS=1000 seeds at most to find each mutation of sim/mutations, built in a copy of the tree
	@SEEDS=$(if $(filter command line environment,$(origin SEEDS)),$(SEEDS),1000) sim/bugs

mutants: cargo ## N=40 machine-made mutants of the core, drawn with SEED=s; what kills each is kept in sim/LEDGER.md
	$(if $(SEED),,$(error SEED=n is needed: it says which mutants are drawn))
	$(CARGO) run --locked -q -p orbit-mutants -- draw --count $(N) --seed $(SEED)

fuzz: cargo ## SECS=60 seconds of fuzzing in all (KEEP=1 keeps the inputs it found)
	@fuzz/run

bless: cargo ## accept the present output of every golden file
	UPDATE_GOLDEN=1 INSTA_UPDATE=always $(CARGO) test --locked -q -p orbit-core -p orbit-proto -p orbit-api -p orbit

dist: cargo ## a tarball and a Debian package of the programs, units, settings and completions
	@.ci/dist

clean: cargo ## remove what was built
	$(CARGO) clean
