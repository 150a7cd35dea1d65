# Tollgate's build. `make` or `make help` lists the targets.
#
# One flag set for build, vet and tests: Go keeps a separate build cache for each combination of these flags, and a cold
# build of Caddy takes minutes. Only `make race` differs, and it leaves out the packages that import Caddy.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -tags=nobadger,nomysql,nopgx -buildvcs=false

# tools/testdeps.sh puts a newer Node here when the system's is too old for the SDK tests.
export PATH := $(CURDIR)/.cache/node/bin:$(PATH)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
CADDY := github.com/caddyserver/caddy/v2
LDFLAGS := -X $(CADDY).CustomVersion=$(VERSION) -X $(CADDY).CustomBinaryName=tollgate
BIN := bin/tollgate
CONFIG ?= Caddyfile
FUZZTIME ?= 10s

# Run from its module path, so that its dependencies stay out of go.mod.
LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# What the race detector runs over: everything of ours that does not import Caddy.
CORE := ./internal/... ./pricing/...

.DEFAULT_GOAL := help
.PHONY: help run build test testdeps unit quick race check fmt vet lint tidy configs bench smoke xcaddy generate fuzz docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: build ## build and run with ./Caddyfile (CONFIG=other for another file)
	@exec $(BIN) run --config $(CONFIG) --adapter caddyfile

build: ## build bin/tollgate
	go build -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/tollgate

test: testdeps unit race ## install what the tests need, run all tests, then the race detector over the core

testdeps: ## install what the tests need (Debian), or say what is missing
	@sh tools/testdeps.sh

unit: ## all tests, with a summary of what was skipped (TESTFLAGS and PACKAGES narrow it)
	go run ./tools/gotest $(TESTFLAGS) $(or $(PACKAGES),./...)

quick: ## the tests to run in a loop: without browser, SDKs, docs and the real binary, and with fewer generated cases
	go run ./tools/gotest -short $(TESTFLAGS) $(CORE) ./caddymodule

race: ## the race detector over the packages that do not import Caddy (needs a C compiler)
	@if command -v $${CC:-cc} >/dev/null 2>&1; then \
		echo "go test -race $(CORE)"; \
		CGO_ENABLED=1 go run ./tools/gotest -race $(TESTFLAGS) $(CORE); \
	elif [ "$$CI" = true ]; then echo "race: no C compiler"; exit 1; \
	else echo "race: skipped, no C compiler"; fi

check: fmt vet lint tidy configs ## format, vet, lint (staticcheck and more), go.mod, every Caddyfile

fmt: ## fail on files gofmt would change
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi

vet: ## go vet
	go vet ./...

lint: ## golangci-lint with .golangci.yml (its first build takes a minute)
	$(LINT) run

tidy: ## fail when go.mod or go.sum is not tidy
	go mod tidy -diff

configs: build ## adapt, validate and format-check every Caddyfile
	@sh tools/checkconfigs.sh $(BIN)

bench: build ## CPU, latency and memory beside plain Caddy (BENCHFLAGS="-rounds 3 -only plain -profile")
	go run ./bench $(BENCHFLAGS)

smoke: build ## one cheap call to each provider whose key is in the environment, and its usage row
	go run ./tools/smoke -binary $(BIN)

xcaddy: ## build as xcaddy does, from xcaddy.json
	go run ./tools/build

generate: ## remake generated files (price table, …)
	go generate ./...

fuzz: ## every fuzz target for FUZZTIME (10s each)
	@sh tools/fuzz.sh $(FUZZTIME)

docs: ## read the Go documentation of this module in a browser
	go doc -http

clean: ## remove what the build made
	rm -rf bin dist .cache
