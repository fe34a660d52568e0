# Accord's two commands: `make demo` and `make test`. Both install the Debian packages they need.
SHELL := /bin/bash
PACKAGES := libsodium-dev libsqlite3-dev libopenblas-dev zlib1g-dev pkg-config
DEMO :=
SECONDS := 60
MPI_CONFIGURATION := -c debug
.PHONY: help demo test build release lint format packages protocol fuzz mpi soak results clean

help:
	@echo "make demo            build (release) and run a whole federation on this machine"
	@echo "make demo DEMO='…'   the same with options of \`accord demo\`, e.g. DEMO='--nodes 12 --drop 2'"
	@echo "make test            build and run all tests"
	@echo "make fuzz SECONDS=60 feed libFuzzer's inputs to every decoder and state machine, SECONDS in all"
	@echo "make mpi             build with Open MPI and check that ranks change no bit of a result"
	@echo "make results         docs/RESULTS.md from the scenarios with a reference (needs the public data sets)"
	@echo "make soak            1,000 seeds of the fault simulator (about 10 minutes)"
	@echo "make lint            check the format"
	@echo "make protocol        generate the protobuf code again (needs protobuf-compiler)"

packages:
	@missing=""; for name in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$name 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$name"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "installing$$missing"; \
	  if [ "$$(id -u)" = 0 ]; then sudo=""; else sudo="sudo"; fi; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq $$missing >/dev/null; \
	fi

# By product: a bare `swift build` would also build the tools of the packages, a C++ protoc among them.
build: packages
	swift build --product accordPackageTests
	swift build --product accord

release: packages
	swift build -c release --product accord

demo: release
	.build/release/accord demo $(DEMO)

test: build
	swift test --skip-build

lint:
	swift format lint --strict --recursive --configuration .swift-format Sources Tests Package.swift

format:
	swift format --in-place --recursive --configuration .swift-format Sources Tests Package.swift

# In a build and with corpora of its own (.build/fuzz), which grow from run to run.
fuzz: packages
	ACCORD_FUZZ=1 swift build --scratch-path .build/fuzz --disable-xctest --product Fuzzing
	Tests/Fuzzing/run "$(SECONDS)"

# Simulations over several machines: a build of its own (.build/mpi).
mpi:
	@$(MAKE) --no-print-directory packages PACKAGES="$(PACKAGES) libopenmpi-dev openmpi-bin"
	swift build --traits MPI --scratch-path .build/mpi --product accord $(MPI_CONFIGURATION) \
	  $$(pkg-config --cflags-only-I ompi-c | sed 's/-I/-Xcc -I/g') \
	  $$(pkg-config --libs-only-L ompi-c | sed 's/-L/-Xlinker -L/g')
	Tests/check-mpi "$$(swift build --traits MPI --scratch-path .build/mpi $(MPI_CONFIGURATION) --show-bin-path)/accord"

soak: release
	.build/release/accord simulate faults --seed 1 --seeds 1000 --rounds 20

# No figure of docs/RESULTS.md is written by hand.
RESULTS := $(basename $(notdir $(shell grep -l '^reference:' simulations/*.yaml))) churn-poisoned
results: release
	for name in $(RESULTS); do \
	  .build/release/accord simulate simulations/$$name.yaml --out results/$$name --overwrite --quiet || exit 1; \
	done
	.build/release/accord simulate table $(addprefix results/,$(RESULTS)) --out docs/RESULTS.md

protocol:
	swift build --product protoc-gen-swift
	PATH="$$PATH:$$(swift build --show-bin-path)" protoc --proto_path=protocol --swift_out=Sources/Messages \
	  --swift_opt=Visibility=Package --swift_opt=UseAccessLevelOnImports=true accord.proto

clean:
	rm -rf .build
