# Everything a person types. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help build run demo test lint bench sim replay bugs fuzz bless clean cargo

CARGO := $(shell command -v cargo 2>/dev/null || { test -x $$HOME/.cargo/bin/cargo && echo $$HOME/.cargo/bin/cargo; })
SEEDS ?= 2000
FROM ?= 1

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

lint: cargo ## formatting and clippy, warnings denied, also under madsim
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --workspace --all-targets --features orbit-core/planted,orbit-sim/planted -- -D warnings
	cd sim/daemons && $(CARGO) fmt --check
	cd fuzz/targets && $(CARGO) fmt --check
	cd sim/daemons && env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_RUSTFLAGS \
		$(CARGO) clippy --locked --all-targets -- -D warnings

bench: cargo ## every figure with its goal and what it was measured against
	@.ci/engine >/dev/null || true
	@examples/web/image >/dev/null || true
	$(CARGO) build --release --locked -q -p orbit-bench -p orbit-manager -p orbit-worker
	$(CARGO) run --release --locked -q -p orbit-bench

sim: cargo ## SEEDS=2000 seeds of the pure world, FROM=1
	$(CARGO) run --release --locked -q -p orbit-sim -- run --seeds $(SEEDS) --from $(FROM)

replay: cargo ## one seed of the pure world with every event: SEED=n
	$(CARGO) run --release --locked -q -p orbit-sim -- replay $(SEED)

bugs: cargo ## SEEDS=1000 seeds at most to find each planted bug; a release has none
	@SEEDS=$(if $(filter command line environment,$(origin SEEDS)),$(SEEDS),1000) sim/bugs

fuzz: cargo ## SECS=60 seconds of fuzzing in all (KEEP=1 keeps the inputs it found)
	@fuzz/run

bless: cargo ## accept the present output of every golden file
	UPDATE_GOLDEN=1 INSTA_UPDATE=always $(CARGO) test --locked -q -p orbit-core -p orbit-proto -p orbit-api -p orbit

clean: cargo ## remove what was built
	$(CARGO) clean
