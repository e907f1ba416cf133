# Weft: a service mesh for hosts. `make help` lists what a person does here.

SHELL      := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Tools and Envoy live here; `make clean` spares it.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/weft
TOOLS := $(CACHE)/tools

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Traces of gRPC drag in templates, which keep every method of every type: a
# quarter of the agent.
TAGS := grpcnotrace
LDFLAGS := -s -w -X main.version=$(VERSION)

GOLANGCI_VERSION        := v2.15.0
PROTOC_GEN_GO_VERSION   := v1.36.12
PROTOC_GEN_GRPC_VERSION := v1.6.2
GRPC_TOOLS_VERSION      := 1.85.1
NFPM_VERSION            := v2.48.0
CYCLONEDX_VERSION       := v1.10.0

export CGO_ENABLED ?= 0
# The race detector needs C.
race: export CGO_ENABLED = 1

.PHONY: help
help: ## list what there is to do
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## weft-cp, weft-agent and weftctl into bin/
	go build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/weft-cp ./cmd/cp
	go build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/weft-agent ./cmd/dp-agent
	go build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/weftctl ./cmd/ctl

.PHONY: package
package: envoy $(TOOLS)/nfpm-$(NFPM_VERSION) $(TOOLS)/cyclonedx-gomod-$(CYCLONEDX_VERSION) ## deb and rpm into dist/; ARCH=arm64 for the other machines, ENVOY=/path for an Envoy of yours
	@NFPM=$(TOOLS)/nfpm-$(NFPM_VERSION) CYCLONEDX=$(TOOLS)/cyclonedx-gomod-$(CYCLONEDX_VERSION) packaging/build.sh $(or $(OUT),dist)

.PHONY: test-machines
test-machines: envoy $(TOOLS)/nfpm-$(NFPM_VERSION) $(TOOLS)/cyclonedx-gomod-$(CYCLONEDX_VERSION) ## the packages on whole machines: install, reboot, upgrade, remove; needs root
	@hack/deps.sh machines
	@ENVOY= ENVOY_ARCH=arm64 hack/envoy.sh >/dev/null
	NFPM=$(TOOLS)/nfpm-$(NFPM_VERSION) CYCLONEDX=$(TOOLS)/cyclonedx-gomod-$(CYCLONEDX_VERSION) \
	  go test -tags machines -count 1 -parallel 8 -timeout 90m -v ./test/machines

.PHONY: test-windows
test-windows: ## the agent's tests as Windows programs, by wine: three minutes
	@hack/deps.sh windows
	@test/windows/run.sh

.PHONY: test-power
test-power: ## take the power from a machine that writes, in the midst of it; needs root
	@hack/deps.sh machines
	go test -tags machines -count 1 -timeout 60m -v ./test/power

.PHONY: vagrant-box
vagrant-box: ## a box for test/vagrant out of the image of test-machines, dist/weft-debian-12.box; needs root
	@hack/deps.sh machines
	@test/vagrant/box.sh dist/weft-debian-12.box

.PHONY: demo
demo: deps envoy build ## two hosts talk through the mesh; needs root
	@hack/demo.sh

.PHONY: test
test: deps envoy build ## all tests: unit, components, real Envoy in network namespaces
	go test -timeout 20m ./...

.PHONY: race
race: deps envoy build ## all tests again under the race detector
	go test -race -timeout 40m ./...

FUZZTIME ?= 60s

.PHONY: fuzz
fuzz: ## feed every decoder what nobody would write, 60 s each; FUZZTIME=10s for less
	@grep -roE '^func Fuzz[A-Za-z0-9_]*' --include='*_test.go' pkg cmd | sed 's|/[^/]*:func | |' | sort -u | while read -r package target; do \
	  echo "$$package $$target for $(FUZZTIME)"; \
	  go test "./$$package" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) || exit 1; \
	done

.PHONY: bench
bench: deps envoy build ## figures: see test/bench
	go test -run '^$$' -bench . -skip 'Apply|Connect|Long' -benchtime 10x ./test/bench
	go test -run '^$$' -bench 'Apply|Connect|Long' -benchtime 3s ./test/bench

.PHONY: scale
scale: build envoy ## measure the control plane at scale and write docs/scale.md: a quarter of an hour
	@hack/scale.sh

.PHONY: check
check: lint generated systems ## format, vet, lint, generated files, architecture rules
	@unformatted=$$(gofmt -l cmd internal pkg test); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run make format:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go mod tidy -diff
	go test ./internal/arch ./internal/reference
	go vet -tags machines ./test/machines
	shellcheck hack/*.sh packaging/*.sh test/machines/*.sh test/machines/guest/*.sh test/vagrant/*.sh test/windows/*.sh .ci/run
	@if command -v vagrant >/dev/null; then \
	  own=$$(mktemp -d); trap 'rm -rf "$$own"' EXIT; cd test/vagrant && VAGRANT_DOTFILE_PATH=$$own vagrant validate --ignore-provider; fi

.PHONY: systems
systems: ## vet the agent with its tests, and build it, for Windows and macOS, where it redirects nothing
	@for os in windows darwin; do echo "GOOS=$$os"; \
	  GOOS=$$os go vet ./cmd/dp-agent ./pkg/agent/... ./pkg/envoy ./pkg/settings ./pkg/keyfile && \
	  GOOS=$$os go build -o /dev/null ./cmd/dp-agent || exit 1; \
	done

.PHONY: format
format: ## gofmt everything
	gofmt -w cmd internal pkg test

.PHONY: lint
lint: deps $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)
	$(TOOLS)/golangci-lint-$(GOLANGCI_VERSION) run ./...

.PHONY: generate
generate: ## make the generated files anew
	@$(MAKE) --no-print-directory proto OUT=pkg/api/hostv1
	@$(MAKE) --no-print-directory bpf OUT=pkg/redirect/ebpf
	@go test ./internal/reference -run Generated -update

.PHONY: generated
generated: deps
	@out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
	$(MAKE) --no-print-directory proto OUT="$$out"; \
	for f in "$$out"/*.go; do \
	  diff -u "pkg/api/hostv1/$$(basename "$$f")" "$$f" || { echo "pkg/api/hostv1 is not what host.proto makes: run make generate"; exit 1; }; \
	done; \
	$(MAKE) --no-print-directory bpf OUT="$$out"; \
	for f in "$$out"/program_*; do \
	  cmp "pkg/redirect/ebpf/$$(basename "$$f")" "$$f" || { echo "pkg/redirect/ebpf is not what bpf/ makes: run make generate"; exit 1; }; \
	done

.PHONY: proto
proto: $(TOOLS)/protoc-gen-go-$(PROTOC_GEN_GO_VERSION) $(TOOLS)/protoc-gen-go-grpc-$(PROTOC_GEN_GRPC_VERSION) $(TOOLS)/grpcio-tools-$(GRPC_TOOLS_VERSION)
	@PYTHONPATH=$(TOOLS)/grpcio-tools-$(GRPC_TOOLS_VERSION) python3 -m grpc_tools.protoc -I pkg/api/hostv1 \
	  --plugin=protoc-gen-go=$(TOOLS)/protoc-gen-go-$(PROTOC_GEN_GO_VERSION) \
	  --plugin=protoc-gen-go-grpc=$(TOOLS)/protoc-gen-go-grpc-$(PROTOC_GEN_GRPC_VERSION) \
	  --go_out=$(OUT) --go_opt=paths=source_relative \
	  --go-grpc_out=$(OUT) --go-grpc_opt=paths=source_relative host.proto

# The compiler decides the bytes: Debian 12's clang, and nothing of this machine.
BPF_TYPES := address config network_key owner_key interface_key listener_key flow_key target call version
BPF_CFLAGS = -O2 -g -Wall -Werror -I$(CURDIR)/bpf -idirafter /usr/include/$(shell uname -m)-linux-gnu -fdebug-prefix-map=$(CURDIR)/bpf=bpf -fdebug-prefix-map=$(CURDIR)=.

.PHONY: bpf
bpf: deps
	@go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel,bpfeb -go-package ebpf -output-dir $(OUT) \
	  $(addprefix -type ,$(BPF_TYPES)) program bpf/redirect.c -- $(BPF_CFLAGS)

.PHONY: envoy
envoy: ## fetch Envoy into the cache; ENVOY=/path uses yours
	@hack/envoy.sh >/dev/null

.PHONY: deps
deps: ## install the Debian packages that tests and demo need
	@hack/deps.sh

.PHONY: clean
clean: ## remove what was built; the cache stays
	rm -rf bin dist
	go clean -testcache

# One binary of a Go tool under a name that carries its version.
define go-tool
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS)/.new go install $(1)@$(2)
	@mv $(TOOLS)/.new/$(notdir $(patsubst %/v2,%,$(1))) $@
endef

$(TOOLS)/golangci-lint-$(GOLANGCI_VERSION):
	$(call go-tool,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_VERSION))

$(TOOLS)/protoc-gen-go-$(PROTOC_GEN_GO_VERSION):
	$(call go-tool,google.golang.org/protobuf/cmd/protoc-gen-go,$(PROTOC_GEN_GO_VERSION))

$(TOOLS)/protoc-gen-go-grpc-$(PROTOC_GEN_GRPC_VERSION):
	$(call go-tool,google.golang.org/grpc/cmd/protoc-gen-go-grpc,$(PROTOC_GEN_GRPC_VERSION))

$(TOOLS)/nfpm-$(NFPM_VERSION):
	$(call go-tool,github.com/goreleaser/nfpm/v2/cmd/nfpm,$(NFPM_VERSION))

$(TOOLS)/cyclonedx-gomod-$(CYCLONEDX_VERSION):
	$(call go-tool,github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod,$(CYCLONEDX_VERSION))

$(TOOLS)/grpcio-tools-$(GRPC_TOOLS_VERSION):
	@mkdir -p $(TOOLS)
	@rm -rf $@.new
	@PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --target $@.new grpcio-tools==$(GRPC_TOOLS_VERSION)
	@mv $@.new $@
