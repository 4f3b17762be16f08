# The commands of the project; `make` alone lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
bin := .venv/bin
# An activated environment or a user's Ansible settings must not leak into the runs.
unexport ANSIBLE_CONFIG ANSIBLE_INVENTORY PYTHONHOME PYTHONPATH VIRTUAL_ENV PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-17s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "ARGS='…' hands further arguments to the program behind a command: make unit ARGS='-k calendar'"
	@echo "(setup, test and clones take none)"

.PHONY: setup setup-test setup-bench
setup: ## build the controller's environment, .venv
	@tools/setup.sh controller
setup-test:
	@tools/setup.sh test
setup-bench: setup-test
	@tools/setup.sh bench

.PHONY: reset sandbox sandbox-backfill sandbox-stop
sandbox: setup ## lay out the polluted project and start its PostgreSQL under .sandbox/
	@ansible-playbook playbooks/sandbox.yml $(ARGS)
reset: setup ## sandbox, then the whole reset on it
	@ansible-playbook playbooks/sandbox.yml playbooks/reset.yml $(ARGS)
sandbox-backfill: setup ## the backfill against a stand-in of the service on this machine, offline
	@ansible-playbook playbooks/sandbox.yml
	@python tests/standin/sandbox.py $(ARGS)
sandbox-stop: ## stop the sandbox's PostgreSQL and remove .sandbox/
	@test ! -d .sandbox || ansible-playbook playbooks/sandbox.yml -e sandbox_state=absent $(ARGS)

.PHONY: test lint unit integration engines recorded safety faults molecule fleet timers fresh clones docs
test: override ARGS =
test: setup-test ## lint, unit, integration and molecule, beside each other; ends in one summary
	@$(MAKE) --no-print-directory ARGS= --jobs=4 --output-sync=target integration lint molecule unit
	@echo "make test: lint, unit, integration and molecule passed"
lint: setup-test ## ansible-lint (production), ansible-test sanity, yamllint, ruff, mypy, module documentation
	@tools/lint.sh $(ARGS)
unit: setup-test ## the pure logic, in seconds
	@pytest tests/unit $(ARGS)
# One kill of each operation and one run with every secret are in it. In this order, so that no long file comes last.
rooms := tests/secrets tests/faults tests/integration
integration: setup-test ## modules against a real PostgreSQL, real sockets and real files
	@pytest $(rooms) -m 'not safety' --numprocesses=3 --dist=loadfile --no-loadscope-reorder $(ARGS)
engines: setup-test ## the database's tests on TimescaleDB and Citus: ENGINES=DIR, or TEST_TIMESCALEDB_URL and TEST_CITUS_URL
	@tools/engines.sh $(ARGS)
recorded: setup-test ## the backfill against answers that the service really gave: DIR=folder; skipped without one
	@RECORDED='$(DIR)' pytest tests/recorded $(ARGS)
safety: setup-test ## kills, failing machines and indexes, secrets on every channel
	@pytest $(rooms) -m safety $(ARGS)
faults: setup-test ## the same in full: every operation, plays killed as they run, thousands of random examples
	@FAULTS=full pytest tests/unit tests/integration/eodhd/test_fleet.py tests/faults tests/secrets $(ARGS)
# Molecule's state by the clone, not by the name of its folder as by default.
molecule fleet timers: export MOLECULE_EPHEMERAL_DIRECTORY = $(CURDIR)/.cache/molecule/$@
molecule: setup-test ## the plays on a sandbox of their own
	@molecule test $(ARGS)
fleet: setup-test ## hosts in containers with SSH, every fault at once; skipped if no container engine works
	@tools/fleet.sh molecule test --scenario-name fleet $(ARGS)
timers: setup-test ## a machine with systemd that runs the jobs by itself; skipped if no container engine works
	@molecule test --scenario-name schedule $(ARGS)

fresh: ## the README's commands on stock Debian 12 and 13, as an ordinary user; skipped if none can be laid out
	@python3 -m tests.fresh $(ARGS)
clones: ## reset, backfill and Molecule in two clones of this one at the same time
	@tests/fresh/clones.sh
docs: setup-test ## every command of every document, typed as written in a copy of the project
	@pytest tests/docs $(ARGS)

.PHONY: bench reference calendars picture lock clean
bench: setup-bench ## measure against the rivals, or the sections of ARGS; writes docs/benchmarks.md
	@python tests/bench/run.py $(ARGS)
reference: setup ## write what follows from the settings and the documentation of the modules
	@python tools/reference.py $(ARGS)
calendars: setup-test ## write module_utils/markets/sessions.py out of the calendar library
	@python tools/calendars.py $(ARGS)
picture: setup-test sandbox-stop ## draw docs/pictures/reset.svg out of a real run, on a fresh sandbox
	@ansible-playbook playbooks/sandbox.yml >/dev/null
	@ANSIBLE_FORCE_COLOR=1 ansible-playbook playbooks/reset.yml $(ARGS) | python tools/picture.py
lock: setup ## refresh the locks of requirements/ from pyproject.toml
	@for group in controller test bench; do uv pip compile $(ARGS) --quiet --upgrade --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-emit-index-url --group $$group -o requirements/$$group.txt; done
clean: sandbox-stop ## leave nothing behind
	@test ! -e .cache/fleet.txt -a ! -e .cache/schedule.txt || tools/fleet.sh python -m tests.fleet forget
	@rm -rf .venv .sandbox .sandbox-* .cache reports .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
