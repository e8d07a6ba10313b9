# What people type. Everything here is one line around a script or a CMake preset.
SHELL := /bin/bash
BUILD ?= build/release
MODEL ?= models/baton-demo
JOBS ?= $(shell nproc)
RUN_TARGETS := baton baton-router baton-prefill-worker baton-decode-worker baton-planner
QUESTION ?= What is disaggregated prefill?
# Left to itself, Baton computes a prompt this short where its tokens are generated.
UP_FLAGS ?= --placement always-remote

.DEFAULT_GOAL := help
.PHONY: help demo test ci build binaries bundle image bench format lint clean

help: ## this text
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## install what is missing, build, start a cluster and ask it one question
	@deploy/deps/install.sh --demo
	@$(MAKE) --no-print-directory binaries
	@exec $(BUILD)/bin/baton up --model $(MODEL) --demo "$(QUESTION)" $(UP_FLAGS)

binaries: # the programs alone
	@if [[ ! -f $(BUILD)/build.ninja ]]; then cmake --preset release -B $(BUILD) --log-level=WARNING -DBATON_BUILD_TESTS=OFF -DBATON_BUILD_BENCH=OFF; fi
	@cmake --build $(BUILD) -j $(JOBS) --target $(RUN_TARGETS)

build: ## everything: programs, tests and benchmarks
	@cmake --preset release -B $(BUILD) --log-level=WARNING -DBATON_BUILD_TESTS=ON -DBATON_BUILD_BENCH=ON
	@cmake --build $(BUILD) -j $(JOBS)

test: ## build and run every test that needs no GPU; the last line is "N passed, N failed"
	@deploy/deps/install.sh --tests
	@tests/run.sh unit python

ci: ## test, lint, sanitizers and fuzzing, with one count at the end
	@deploy/deps/install.sh --tests
	@tests/run.sh unit python chart cuda lint asan tsan fuzz

bundle: ## one archive that runs on any x86-64 Linux: build/baton-VERSION-linux-x86_64.tar.xz
	@$(MAKE) --no-print-directory binaries
	@deploy/bundle.sh --build $(BUILD)

image: ## a container image, with no container engine: build/baton-VERSION-image.tar
	@$(MAKE) --no-print-directory binaries
	@deploy/image.sh --build $(BUILD)

bench: ## measure a local cluster; figures go to bench/baselines
	@$(MAKE) --no-print-directory binaries
	@bench/serving/run.sh

format: ## clang-format every C++ file
	@git ls-files '*.h' '*.cc' '*.cu' '*.cuh' | xargs clang-format-19 -i

lint: ## formatting and clang-tidy
	@tests/run.sh lint

clean: ## remove every build, keep installed dependencies
	@rm -rf build
