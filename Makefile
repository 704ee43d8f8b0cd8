# Two commands do all the set-up on a Debian machine with Go, git and make:
#
#   make demo    runs the main job for real, and leaves the server running
#   make test    runs every test
#
# Both install what is missing from the distribution's packages, Docker among it.

PORT ?= 8080
GOTESTSUM = go run gotest.tools/gotestsum@v1.13.0

.PHONY: build demo demo-stop image test bench chaos fuzz clean

build: ## the program, static, as bin/buildsmith
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/buildsmith ./cmd/buildsmith

demo: ## push a sample repository to a server of your own
	@deploy/setup.sh docker
	@deploy/image.sh
	@$(MAKE) --no-print-directory build
	@PORT=$(PORT) deploy/demo.sh

demo-stop: ## stop the demo's server
	@deploy/demo.sh stop

image: ## the build image
	@deploy/setup.sh docker
	@deploy/image.sh

test: ## every test, with the race detector
	@deploy/setup.sh tests
	@deploy/image.sh
	@BUILDSMITH_TEST_ALL=1 $(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg -- -race -timeout 25m ./...

bench: ## the benchmarks that compare with doing it by hand
	@deploy/setup.sh tests
	@deploy/image.sh
	BUILDSMITH_BENCH=1 go test -run '^TestMeasure' -v -timeout 60m ./cmd/buildsmith
	go test -run '^$$' -bench . -timeout 60m ./runner/cache ./store ./runner/buildspec ./runner/report ./runner/agent

chaos: ## two servers for two minutes, one of them killed every few seconds (CHAOSTIME=120)
	@deploy/setup.sh tests
	BUILDSMITH_TEST_ALL=1 BUILDSMITH_TEST_CHAOS=$(or $(CHAOSTIME),120) go test -run '^TestChaos$$' -v -timeout 30m ./cmd/buildsmith

fuzz: ## every fuzz target for a while (FUZZTIME=30s)
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 10x $$p || exit 1; \
	done; done

clean:
	rm -rf bin .cache
