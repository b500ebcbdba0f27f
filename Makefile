# The only door to the platform. `make help` lists what it can do.
SHELL := /bin/bash
# -p: whatever BASH_ENV and exported functions are.
.SHELLFLAGS := -pc
.DEFAULT_GOAL := help
.PHONY: help up test check coverage e2e molecule faults down recover replay status doctor follow sbom audit conformance venv venv-dev verify

$(if $(wildcard tools/environment),,$(error BK-296: this is not the checkout's folder; run: make -C $(dir $(lastword $(MAKEFILE_LIST)))))
# The environment of everything; what it holds is declared in one place.
RUN := tools/environment
PLAY := $(RUN) ansible-playbook
# Extra arguments for the playbooks: make up ARGS="-e bookstore_mesh_mode=sidecar"
ARGS ?=

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

venv:
	@tools/venv requirements/controller.txt

venv-dev: venv
	@tools/venv requirements/controller.txt requirements/dev.txt

up: venv ## Bring the platform up, or back up; safe to repeat
	@$(PLAY) bootstrap.yml $(ARGS)

verify: venv ## Prove that the running platform works
	@$(PLAY) verify.yml $(ARGS)

recover: venv ## Repair a platform whose host, engine or nodes went down
	@$(PLAY) recover.yml $(ARGS)

replay: venv ## Give workers again the events that they missed or set aside
	@$(PLAY) replay.yml $(ARGS)

down: venv ## Remove the cluster; data and caches stay (ARGS="-e scope=all -e confirm=yes" for all)
	@$(PLAY) teardown.yml $(ARGS)

status: venv ## Show nodes, workloads, memory and addresses
	@$(RUN) python tools/status

doctor: venv ## Print the facts that a problem report needs
	@$(RUN) python tools/doctor

follow: venv ## Show what is known of one order, and where its way ended (ORDER=id; docs/reliability.md)
	@$(RUN) python tools/follow "$(ORDER)"

sbom: venv ## Write what each image holds into reports/sbom (CycloneDX), and print a table
	@$(RUN) python tools/sbom

audit: venv ## Ask an advisory service for weaknesses of what the images hold (ARGS="--documents FOLDER"; docs/updates.md)
	@$(RUN) python tools/audit $(ARGS)

check: venv-dev ## Static and unit tests; needs no cluster
	@tools/check

test: venv-dev ## Everything: static, unit, component, live; brings the platform up if it is down
	@tools/test

coverage: venv-dev ## The services' component tests, with their coverage measured and compared with what is asked for
	@tools/component-tests --coverage

e2e: venv-dev ## The browser's tests alone, against the running platform
	@tools/e2e $(ARGS)

molecule: venv-dev ## Prove each role against the running platform (SCENARIO=kafka: that one)
	@tools/molecule $(SCENARIO)

conformance: venv ## Let Kubernetes' own test suite judge the running platform (ARGS="--group network"; docs/conformance.md)
	@$(RUN) python tools/conformance $(ARGS)

faults: venv-dev ## Break the running platform in every way that docs/reliability.md lists, and prove that it heals
	@tools/locked pytest -v -p no:randomly -m faults tests/live/faults
