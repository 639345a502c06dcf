# make book   set everything up, train a small DDP job, build the HTML book
# make pdf    set everything up, typeset the documents: docs/paper.pdf and the others
# make test   set everything up, pass the tests; make test-quick passes those of a minute or two
# make release VERSION=1.2.3    check every deliverable, tag, pack an archive
# make cluster-up    a real Slurm, small, on this machine; cluster-status, cluster-down
# make hub-up HUB_USER=me    a JupyterHub on it; hub-down
PYTHON ?=
TORCH ?=
export PYTHON TORCH HUB_USER HUB_GROUPS HUB_PORT HUB_ENVIRONMENT
# The small cluster: make cluster-up LINK=1gbit NODES=2 CPUS=2 NAME=default
NAME = default
NODES = 2
CPUS = 2
LINK =
HUB_USER =
HUB_GROUPS =
HUB_PORT = 8000
HUB_ENVIRONMENT =
VERSION =
# Tests that need nothing of the machine and are over soon.
QUICK = not (shared or browser or slurm or tex or slow or examples or hub)
MINISLURM = .venv/bin/minislurm
.DEFAULT_GOAL := help
.PHONY: help setup book pdf test test-quick lint figures release lock clean cluster-up cluster-down cluster-status \
  hub-up hub-down

help:
	@sed -n '1,6s/^# //p' Makefile

setup:
	@env/setup.sh

book: setup
	@.venv/bin/scalebook book --run auto

pdf: setup
	@env/apt.sh tex
	@.venv/bin/scalebook pdf

# Where this is set, each of the processes that tests start would compile the package anew.
test test-quick: export PYTHONDONTWRITEBYTECODE =

test: setup
	@env/test.sh

test-quick: setup
	@.venv/bin/python -m pytest -q -n 2 --dist loadfile -m '$(QUICK)'

lint: setup
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

figures: setup
	@.venv/bin/scalebook figures

release: setup
	@.venv/bin/scalebook release '$(VERSION)'

cluster-up: setup
	@$(MINISLURM) up --name '$(NAME)' --nodes '$(NODES)' --cpus '$(CPUS)' --link '$(LINK)'

cluster-down: setup
	@$(MINISLURM) down --name '$(NAME)'

cluster-status: setup
	@$(MINISLURM) status --name '$(NAME)'

hub-up: setup
	@env/hub.sh up '$(NAME)'

hub-down: setup
	@env/hub.sh down '$(NAME)'

lock:
	@env/lock.sh

clean:
	rm -rf _build .scalebook
