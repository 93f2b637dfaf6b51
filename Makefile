# `make help` lists what there is. Every target works from a fresh clone.

SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME   ?= 1m
SMOKETIME  ?= 3s
SOAKTIME   ?= 1h
LDFLAGS    := -s -w -X main.version=$(VERSION)
NODE_DIRS  := examples/node test/node
# The scenarios have `go test` lines of their own: they measure time and
# memory, so they run without the race detector, one package after the other.
UNIT        = $(shell go list ./... | grep -Ev '^steelyard/(test/|bench$$)')
SCENARIOS  := ./test/... ./bench
# Budgets of allocations and time mean nothing under the race detector, where
# they skip, so they are run once more without it.
BUDGETS    := Alloc|Budget|TestManyBackends

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## Build bin/steelyard, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/steelyard ./cmd/steelyard

.PHONY: run
run: build ## Build, then run the demo on 127.0.0.1:8080
	bin/steelyard demo

.PHONY: test
test: need lint node-deps consul build ## Lint, then run every test (what CI runs)
	@status=0; \
	if [ -n "$$CI" ]; then tools/fuzz $(SMOKETIME) || status=1; fi; \
	go test -race -timeout 8m $(UNIT) || status=1; \
	go test -count=1 -p 1 -run '$(BUDGETS)' $(UNIT) || status=1; \
	STEELYARD_BIN=$(CURDIR)/bin/steelyard go test -count=1 -p 1 -timeout 12m $(SCENARIOS) || status=1; \
	exit $$status

.PHONY: unit
unit: ## Run the unit tests alone, with the race detector
	go test -race -timeout 8m $(UNIT)

.PHONY: scenarios
scenarios: need node-deps consul build ## Run the scenarios alone, against real Node.js processes and a real Consul
	STEELYARD_BIN=$(CURDIR)/bin/steelyard go test -count=1 -p 1 -timeout 12m $(SCENARIOS)

.PHONY: soak
soak: need node-deps build ## Run under everything at once for SOAKTIME (default 1h), and look for leaks
	SOAKTIME=$(SOAKTIME) STEELYARD_BIN=$(CURDIR)/bin/steelyard go test -count=1 -timeout 0 -v -run TestSoak ./test/soak

.PHONY: peers
peers: need node-deps build ## Play fault scenarios with nginx and HAProxy beside Steelyard (minutes)
	@tools/need haproxy
	PEERS=1 STEELYARD_BIN=$(CURDIR)/bin/steelyard go test -count=1 -timeout 10m -v -run TestPeers ./test/fault

.PHONY: lint
lint: ## gofmt, go vet, staticcheck and the import floors
	@unformatted=$$(go list -f '{{.Dir}}' ./... | xargs gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is due for:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...
	GOOS=darwin go build -o /dev/null ./cmd/steelyard
	go test -count=1 ./internal/floors

.PHONY: fuzz
fuzz: ## Fuzz every target, FUZZTIME each (default 1m)
	tools/fuzz $(FUZZTIME)

.PHONY: bench
bench: build ## Measure beside nginx, HAProxy and caddy, and write docs/performance.* (half an hour)
	@tools/need nginx haproxy caddy wrk
	go run ./bench

.PHONY: bench-quick
bench-quick: build ## Measure what matters most, and print it alone (4 minutes)
	@tools/need nginx haproxy caddy wrk
	go run ./bench -quick -write=false

.PHONY: bench-micro
bench-micro: ## Micro-benchmarks beside bench/micro.txt, or beside the commit BASE; SAVE=1 makes a new micro.txt
	bench/micro $(if $(SAVE),save,$(BASE))

.PHONY: clean
clean: ## Remove what was built and installed
	rm -rf bin dist $(addsuffix /node_modules,$(NODE_DIRS))
	go clean -testcache

.PHONY: screenshots
screenshots: need node-deps consul build ## Take the pictures of the dashboard in docs/img anew (minutes)
	mkdir -p docs/img
	SCREENSHOTS=$(CURDIR)/docs/img SCREENSHOTS_AFTER=150s STEELYARD_BIN=$(CURDIR)/bin/steelyard \
	go test -count=1 -timeout 8m -run TestScreenshots ./test/dashboard

.PHONY: consul
consul: ## Build a Consul agent for the tests, once for a machine (minutes)
	@tools/consul/build >/dev/null

# The two below make ready what the tests need; they do nothing when all is there.

.PHONY: need
need:
	@tools/need gcc node npm chromium prometheus promtool systemd-analyze nginx apache2 openssl testssl haproxy caddy wrk slowhttptest

.PHONY: node-deps
node-deps: need
	@tools/node-deps $(NODE_DIRS)
