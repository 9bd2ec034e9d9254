# Start with `make demo` or `make test`. Both install everything that they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vllm-operator
UV := $(or $(shell command -v uv 2>/dev/null),$(CACHE)/uv/bin/uv)
RUN := $(UV) run --frozen
CLUSTER_TOOL := $(PYTHON) -m tools.localcluster
TIMED := $(PYTHON) -m tools.plan timed
IMAGE ?= localhost/vllm-operator:dev

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z0-9 -]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

## --- the two commands

.PHONY: demo
demo: plan-demo setup ## Bring up a cluster and the operator, serve a model and request a completion
	$(RUN) python -m tools.demo

.PHONY: test
test: plan-test setup ## Run all checks and tests: unit, golden, API server, real cluster
	$(TIMED) check $(MAKE) --no-print-directory check
	$(TIMED) unit $(MAKE) --no-print-directory unit
	$(CLUSTER_TOOL) prepare test
	$(TIMED) chart $(MAKE) --no-print-directory chart
	$(TIMED) test-api $(MAKE) --no-print-directory test-api
	$(TIMED) test-e2e $(MAKE) --no-print-directory test-e2e

.PHONY: plan-demo plan-test
plan-demo plan-test: ## Print what the command will do on this machine, and how long it takes
	@$(PYTHON) -m tools.plan $(@:plan-%=%)

## --- set-up

$(CACHE)/uv/bin/uv:
	$(PYTHON) -m venv $(CACHE)/uv
	$(CACHE)/uv/bin/pip install --quiet "uv>=0.9"

.PHONY: setup
setup: $(UV) ## Install the Python environment
	$(UV) sync --frozen --quiet

## --- checks and tests

.PHONY: check
check: setup ## Format, lint, types, layers, workflows
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) python -m tools.lint_workflows

.PHONY: unit
unit: setup ## Unit and golden tests, and the upgrade from the last release: no cluster
	$(RUN) pytest tests/unit tests/client tests/golden tests/upgrade tests/project tools/tests -q -n 2 --dist loadfile

.PHONY: test-random
test-random: setup ## The property tests with new random examples; a failure prints how to repeat it
	HYPOTHESIS_PROFILE=random $(RUN) pytest tests/unit tests/chart tests/project -q -m hypothesis

.PHONY: chart
chart: setup ## The Helm charts: lint, values, golden files, and releases on a real API server, by Helm 3 and Helm 4
	$(RUN) pytest tests/chart -q -n 2 --dist loadfile

.PHONY: chart-test
chart-test: chart ## The same, then each way to install, on the whole cluster with real vLLM: Helm, kubectl, kustomize, Argo CD, Flux (CHART_JSON=FILE)
	$(RUN) pytest tests/e2e/chart -q

.PHONY: gitops-test
gitops-test: setup ## Argo CD and Flux themselves, built from their Go modules: health, differences, order, an image update (9 minutes, 25 more the first time)
	$(RUN) pytest tests/gitops -q

.PHONY: test-api
test-api: setup ## Tests against a real API server and controller manager
	$(RUN) pytest tests/integration --ignore=tests/integration/rollback -q -n 2 --dist loadfile

.PHONY: test-rollback
test-rollback: setup ## A new revision that turns bad is taken back (2 minutes)
	$(RUN) pytest tests/integration/rollback -q

.PHONY: test-e2e
test-e2e: setup ## Tests on the whole cluster with real vLLM
	$(RUN) pytest tests/e2e --ignore=tests/e2e/states --ignore=tests/e2e/client --ignore=tests/e2e/chart --ignore=tests/e2e/field_cases --ignore=tests/e2e/plugin --ignore=tests/e2e/monitoring -q

.PHONY: monitoring-test
monitoring-test: setup ## Alerts on a real Prometheus: each by its real cause, then an hour of healthy waves (MONITORING_JSON=FILE, MONITORING_HEALTHY_SECONDS, MONITORING_ONLY)
	$(RUN) pytest tests/e2e/monitoring -q

.PHONY: bench
bench: setup ## Seconds to the first completion, calls per server, cost at rest
	$(RUN) python -m tools.bench.first_completion

.PHONY: bench-scale
bench-scale: setup ## A thousand servers at once, compared with a bare write loop (options: tools/bench/scale.py)
	$(RUN) python -m tools.bench.scale

.PHONY: bench-probes
bench-probes: setup ## Two thousand stand-ins of replicas probed every 5 s (PROBE_REPLICAS, PROBE_INTERVAL, BENCH_JSON)
	$(RUN) python -m tools.bench.probes

.PHONY: test-autoscaling
test-autoscaling: setup ## The real autoscalers of Kubernetes and KEDA on stand-ins of replicas, on a real API server
	$(RUN) pytest tests/autoscaling -q

.PHONY: bench-autoscale
bench-autoscale: setup ## Seconds from a spike of load to more replicas, and the cost of 500 (AUTOSCALE_JSON, AUTOSCALE_KEDA=1)
	$(RUN) python -m tools.bench.autoscale

.PHONY: bench-client
bench-client: setup ## Our client, raw HTTP clients and the openai SDK in turns (CLIENT_JSON, CLIENT_ROUNDS, CLIENT_ONLY, CLIENT_VLLM=start)
	$(RUN) python -m tools.bench.client

.PHONY: bench-sizing
bench-sizing: setup ## Compare the sizing with measured starts of vLLM, and print the errors
	$(RUN) python -m tools.bench.sizing

.PHONY: bench-plugin
bench-plugin: setup ## Seconds until `kubectl vllm --help` ends
	$(RUN) python -m tools.bench.plugin_start

.PHONY: faults
faults: setup ## Kill the operator after every write, break its API server, 500 random transitions (TRANSITIONS, TRANSITION_SEED)
	$(RUN) pytest tests/chaos -q

.PHONY: states
states: setup ## Cause every kind of fault on the real cluster, and time the status (STATES_FLOOD_SECONDS, STATES_JSON)
	$(RUN) pytest tests/e2e/states -q

.PHONY: test-engine
test-engine: setup ## Stop the engine of a real vLLM, and keep another one busy, while the operator probes both (FLOOD_SECONDS=60)
	$(RUN) pytest tests/stalled_engine -q -s

.PHONY: test-nginx
test-nginx: setup ## Stop one of two real vLLM processes behind the nginx that `render --target compose` writes (needs nginx)
	$(RUN) pytest tests/nginx -q -s

.PHONY: test-gateway
test-gateway: setup ## The gateway with the real Envoy: routing, keys, limits, holding, faults, changes under load
	$(RUN) pytest tests/gateway -q

.PHONY: bench-gateway
bench-gateway: setup ## The gateway next to direct access and nginx: latency, CPU, memory, prefix hits (GATEWAY_JSON=FILE)
	$(RUN) python -m tests.gateway.bench

.PHONY: e2e-gateway
e2e-gateway: setup ## Count lost requests at a gateway on a real cluster of two nodes (GATEWAY_EVENTS, GATEWAY_JSON)
	$(RUN) python -m tools.gateway

.PHONY: e2e-client
e2e-client: setup ## A rolling update on a real cluster under a batch of 1,000 requests of the client library
	$(RUN) pytest tests/e2e/client -q -s

.PHONY: e2e-plugin
e2e-plugin: setup ## Every command of the plugin on the real cluster, with an autoscaler on vLLM's metrics (PLUGIN_TRANSCRIPT=FILE)
	$(RUN) pytest tests/e2e/plugin -q

.PHONY: e2e-drain
e2e-drain: setup ## Count lost requests while replicas leave a real cluster of two nodes (DRAIN_EVENTS, DRAIN_PLAIN, DRAIN_WAVES_SECONDS, DRAIN_JSON)
	$(RUN) python -m tools.drain

.PHONY: test-client
test-client: setup ## Batches and examples of the client library against a real vLLM (-s shows the figures)
	$(RUN) pytest tests/client_vllm -q -s

.PHONY: engine-kinds
engine-kinds: setup ## Probe a real vLLM of each kind: pooling, audio, vision, adapters, several engines (ENGINE_KINDS_LOGS=FOLDER)
	$(RUN) pytest tests/engine_kinds -q -s

.PHONY: field-cases
field-cases: setup ## Serve each field case that a CPU can run on the real cluster
	$(RUN) pytest tests/e2e/field_cases -q

.PHONY: fuzz
fuzz: setup ## 100,000 generated manifests, a sample to a real API server (FUZZ_MANIFESTS, FUZZ_SAMPLE, FUZZ_SEED)
	$(RUN) python -m tests.fuzz

.PHONY: fuzz-http
fuzz-http: setup ## 100,000 fuzzed HTTP answers against the prober: stand-stills and memory (FUZZ_ANSWERS, FUZZ_SEED)
	$(RUN) python -m tests.fuzz.http_answers

.PHONY: hostile
hostile: setup ## Hostile pods and manifests next to a well-behaved tenant (HOSTILE_KINDS, HOSTILE_SECONDS, HOSTILE_JSON)
	$(RUN) python -m tools.hostile

.PHONY: convert-samples
convert-samples: setup ## Convert the published samples of other projects (SAMPLES=folder with their checkouts)
	$(RUN) python -m tools.convert_samples $(SAMPLES)

.PHONY: golden
golden: setup ## Rewrite the golden files
	UPDATE_GOLDEN=1 $(RUN) pytest tests/golden tests/chart/test_values.py tests/chart/test_argocd_layout.py -q

.PHONY: changelog
changelog: setup ## Show the section of the changelog that the fragments in changelog.d/ make
	$(RUN) towncrier build --draft --version next

.PHONY: release
release: setup ## Do the local part of a release, and say what is left (VERSION=0.2.0, RELEASE_IMAGE=registry/name:tag)
	@$(RUN) python -m tools.release ready "$(VERSION)"
	$(MAKE) check unit
	@$(RUN) python -m tools.release prepare "$(VERSION)"

.PHONY: release-snapshot
release-snapshot: setup ## Keep what this version renders, for the next one's upgrade test (VERSION=0.2.0): tests/upgrade/released/
	$(RUN) python -m tools.release_snapshot $(VERSION)

## --- generated files

.PHONY: crds
crds: setup ## Generate crds/ from the models, and what charts/ and config/ take from it
	$(RUN) python -m vllm_operator crd > crds/vllmserver.yaml.new && mv crds/vllmserver.yaml.new crds/vllmserver.yaml
	$(RUN) python -m vllm_operator crd --kind VLLMGateway > crds/vllmgateway.yaml.new && mv crds/vllmgateway.yaml.new crds/vllmgateway.yaml
	$(RUN) python -m tools.chart

.PHONY: build-requirements
build-requirements: setup ## Pin the tools that build the image: build-requirements.txt
	$(UV) pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 \
	  --custom-compile-command "make build-requirements" build-requirements.in --output-file build-requirements.txt

.PHONY: dashboards
dashboards: setup ## Generate the Grafana dashboards, and what charts/ and config/ take from them: templates/dashboards/
	$(RUN) python -m tools.dashboards
	$(RUN) python -m tools.chart

.PHONY: dashboard-queries
dashboard-queries: setup ## Run every query of the dashboards against recorded runs, and write docs/reference/dashboards.md (DASHBOARDS_JSON)
	$(RUN) python -m tools.dashboards.report

.PHONY: dashboard-recordings
dashboard-recordings: setup ## Record such runs: vLLM processes (VERSIONS="0.9.2 0.32.0"), the operator, and a whole cluster
	$(RUN) python -m tools.dashboards.record_process $(VERSIONS)
	$(RUN) python -m tools.dashboards.record_operator
	$(RUN) python -m tools.dashboards.record_cluster
	$(RUN) python -m tools.dashboards.report
	$(RUN) python -m tools.dashboards.pictures

.PHONY: charts
charts: setup ## Generate what charts/ and config/ take from the models: CRD, policy, alerts, schemas, tables of values
	$(RUN) python -m tools.chart

.PHONY: reference-docs
reference-docs: setup ## Generate docs/reference/vllmserver.md, cli.md, kubectl-plugin.md, client.md from the source
	$(RUN) python -m tools.reference_docs

.PHONY: manifests
manifests: setup ## Render one file with CRD, RBAC and Deployment: dist/vllm-operator.yaml (IMAGE, OPTIONS="--pod-monitor --rules")
	$(RUN) python -m vllm_operator manifests --image $(IMAGE) $(OPTIONS) --output dist/vllm-operator.yaml
	@echo "kubectl apply --server-side -f dist/vllm-operator.yaml"

.PHONY: plugin
plugin: setup ## Build the kubectl plugin as one file, its archive and its krew manifest: dist/kubectl-vllm (PLUGIN_URL)
	UV=$(UV) $(RUN) python -m tools.plugin_package

.PHONY: vllm-versions
vllm-versions: setup ## Measure flags and metrics of vLLM releases (VERSIONS="0.32.0 ..."): operator/vllm_operator/vllm/releases/
	$(RUN) python -m tools.vllm_releases $(VERSIONS)

## --- cluster and images

.PHONY: cluster
cluster: ## Bring up a cluster (CLUSTER=current|kind|local, NODES=1) and print its KUBECONFIG line
	@$(CLUSTER_TOOL) up

.PHONY: cluster-down
cluster-down: ## Remove every trace of the cluster
	@$(CLUSTER_TOOL) down

.PHONY: vllm-image
vllm-image: ## Build the CPU vLLM image and bring it to the nodes
	@$(CLUSTER_TOOL) vllm-image

.PHONY: operator-image
operator-image: ## Build the operator's image and bring it to the nodes
	@$(CLUSTER_TOOL) operator-image
