# A table of contents: each target calls one script. Variables: CLUSTER (name), PORT_OFFSET (moves all ports), WORKERS (nodes
# beside the control plane's: none in a new cluster when empty), EDGE (which of k8s/edges/, ingress-nginx when empty), IMAGES
# (upstream or registries; chosen by itself when empty), EVENTS (for faults: names of some, all when empty), WHERE (for bench
# and docs: local for without a cluster).
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo kind-up image wheels sbom package push verify logs kind-down clean local docs docs-shell test test-chart test-full test-recovery test-unit faults edges bench bench-clients bench-curves servers lint mutants

# Where no image registry can be reached, this builds what would have been pulled. Without it only upstream's images are used.
export FROM_REGISTRIES := k8s/from-registries/build.py

PYTHON := .venv/bin/python
export PYTHONPATH := scripts:scripts/streamproof
CLUSTER_COMMAND := $(PYTHON) -m cluster

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target text; do printf '  make %-13s %s\n' "$$target" "$$text"; done

demo: .venv/complete ## bring up everything, and verify a stream through the edge
	@$(CLUSTER_COMMAND) demo

kind-up: .venv/complete ## bring up a kind cluster with an edge (EDGE=envoy-gateway adds that one) and the demo's images, for you to install the chart
	@$(CLUSTER_COMMAND) up

image: .venv/complete ## build the demo's image and streamproof's, or with PROJECT=folder yours, and load them into the cluster
	@$(CLUSTER_COMMAND) image

wheels: .venv/complete ## build the wheel of django-streamproof into build/wheels, for a project of yours
	@$(CLUSTER_COMMAND) wheels

sbom: .venv/complete ## write which packages the images hold, as CycloneDX, into build/
	@$(CLUSTER_COMMAND) sbom

package: .venv/complete ## write the chart as an archive into build/
	@$(CLUSTER_COMMAND) package

push: .venv/complete ## push the images and the chart to a registry: make push REGISTRY=registry.example.com/team
	@$(CLUSTER_COMMAND) push

verify: .venv/complete ## verify a stream through the edge, or any: make verify URL=…
	@$(CLUSTER_COMMAND) verify

logs: .venv/complete ## show what the demo's pods have logged
	@$(CLUSTER_COMMAND) logs

kind-down: .venv/complete ## remove the cluster
	@$(CLUSTER_COMMAND) down

# By the Python of the machine: it works without .venv, and removes that.
clean: ## undo all that was put on this machine, and list it, with what stays
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: python3 on PATH must be Python 3.11 or later" >&2; exit 1; }
	@python3 -m cluster.clean

local: .venv/complete ## the same stream without a cluster: gunicorn behind nginx on loopback, verified
	@$(PYTHON) -m local_edge

docs: .venv/complete ## run the console blocks of README.md and docs/, and rewrite their outputs (WHERE=local: without the cluster)
	@$(PYTHON) -m doc_blocks rewrite

docs-shell: .venv/complete ## a shell with the servers on loopback that docs/how-streaming-works.md asks
	@$(PYTHON) -m doc_blocks shell

# A cluster of its own, beside the one that you play with, with two workers to drain, and a kubeconfig of its own: kubectl goes on meaning yours. It
# stays up for the next run.
test: export CLUSTER := streaming-test
test: export PORT_OFFSET := 10000
test: export WORKERS := 2
test: export KUBECONFIG := $(CURDIR)/build/test.kubeconfig
test: .venv/complete lint ## all tests, the fast ones first, and on a cluster of their own (22 min; kind-down CLUSTER=streaming-test removes that)
	@$(PYTHON) -m layers

faults: export CLUSTER := streaming-test
faults: export PORT_OFFSET := 10000
faults: export WORKERS := 2
faults: export KUBECONFIG := $(CURDIR)/build/test.kubeconfig
faults: .venv/complete ## deploys, kills and hostile clients while 100 streams are open, each accounted for, on the tests' cluster (more than an hour)
	@$(CLUSTER_COMMAND) up
	@$(PYTHON) -m faults $(EVENTS)

# All edges in one cluster, at ports of their own.
edges: .venv/complete ## compare the edges: what each does to a stream, how fast it is; writes the table of docs/edges.md
	@for edge in ingress-nginx envoy-gateway traefik; do $(CLUSTER_COMMAND) --edge $$edge up || exit; done
	@$(PYTHON) -m edges

bench: .venv/complete ## what streaming costs beside nginx and Go, on the running cluster (WHERE=local: without one; about 15 min)
	@$(PYTHON) -m bench ratios

bench-clients: .venv/complete ## how many streams a pod holds, by server: gunicorn's classes, uvicorn, granian, Go (about 15 min)
	@$(PYTHON) -m bench clients

bench-curves: .venv/complete ## rates over chunk size and parallel streams, and where the time of a row goes (about 15 min; WHERE=local too)
	@$(PYTHON) -m bench curves

servers: .venv/complete ## what holds under uvicorn, granian, hypercorn, daphne, waitress and uwsgi; writes the table of docs/operations.md (6 min)
	@$(PYTHON) -m bench.servers

test-full: export CLUSTER := streaming-test
test-full: export PORT_OFFSET := 10000
test-full: export KUBECONFIG := $(CURDIR)/build/test.kubeconfig
test-full: .venv/complete lint ## Traefik on the tests' cluster; streamproof's verdicts on real servers, five times on a busy machine, for its README's table
	@$(CLUSTER_COMMAND) --edge traefik up
	@EDGE=traefik $(PYTHON) -m pytest tests/edges/test_edge.py
	@$(PYTHON) -m pytest tests/matrix --runs 5

test-recovery: .venv/complete lint ## kind-up after a killed engine, a killed kind and a full disk, and clean, in namespaces of their own (root on Linux)
	@$(PYTHON) -m pytest tests/recovery

test-unit: .venv/complete lint ## the tests that need neither server nor cluster
	@$(PYTHON) -m layers unit

test-chart: .venv/complete ## the tests of the chart that need no cluster: by helm, which is built if there is none
	@$(PYTHON) -m layers chart

mutants: .venv/complete build/mutmut/complete ## make mistakes on purpose, in pure modules and the chart, and see that the tests notice
	@$(PYTHON) -m mutants.modules && $(PYTHON) -m mutants.chart

lint: .venv/complete ## ruff and mypy
	@$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy app docs scripts/bench scripts/cluster scripts/doc_blocks scripts/edges scripts/faults scripts/layers.py scripts/local_edge scripts/mutants scripts/streamproof/streamproof $(FROM_REGISTRIES)

.venv/complete: requirements/dev.txt scripts/make-venv
	@scripts/make-venv

# Beside .venv, which everybody needs, as it is for this alone.
build/mutmut/complete: requirements/mutants.txt .venv/complete
	@echo " • Install mutmut into $(@D) …" >&2
	@rm -rf $(@D) && $(PYTHON) -m pip install --quiet --require-hashes --target $(@D) --requirement $< && touch $@
