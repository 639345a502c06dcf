# make book   set everything up, train a small DDP job, build the HTML book
# make test   set everything up, pass the tests
PYTHON ?=
TORCH ?= pinned
export PYTHON TORCH
.DEFAULT_GOAL := help
.PHONY: help setup book test lint figures lock clean

help:
	@sed -n '1,2s/^# //p' Makefile

setup:
	@env/setup.sh

book: setup
	@.venv/bin/scalebook book --run quick

test: setup
	@env/test.sh

lint: setup
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .

figures: setup
	@.venv/bin/scalebook figures

# Resolve requirements.txt anew. Local versions (+cpu) are left out, so that any index serves it.
lock: setup
	@{ sed -n '/^#/p' requirements.lock; \
	   .venv/bin/pip freeze --exclude scalebook | grep -v '^-e' | sed 's/+[a-z0-9.]*$$//'; } \
	   > requirements.lock.new && mv requirements.lock.new requirements.lock

clean:
	rm -rf _build .scalebook
