# Every target creates the virtual environment it needs. Useful settings:
#   make demo VENV=/path/to/venv                                         put the environment elsewhere
#   make demo PIP_ARGS="--extra-index-url CPU_INDEX"                     PyTorch's CPU build (docs/install.md)
#   make demo ARGS="steps=2000 seed=1"                                   settings for robot-rl quickstart
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell command -v $(name) 2>/dev/null)))
VENV ?= .venv
PIP_ARGS ?=
ARGS ?=
PYTEST_ARGS ?=
RUN := $(VENV)/bin

.PHONY: help demo test fast check lint bench mutants doctor venv egl clean

help:
	@echo "make demo    install, then robot-rl quickstart: demonstrations, imitation, fine-tuning, report"
	@echo "make test    install with [ros,record,dev,bench,realsense,franka,teleop], then all tests"
	@echo "make check   linters, types and the fast tests"
	@echo "make bench   install with [bench], then run the benchmarks"
	@echo "make mutants delete each guard of the safety layers in a copy, print the test that notices"
	@echo "make doctor  check what is installed and what is missing"
	@echo "make clean   remove the environment and all caches in this folder (runs/ is kept)"

demo: venv egl
	$(RUN)/robot-rl quickstart $(ARGS)

SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Most tests run side by side. Those marked `calm` afterwards, two at a time: they wait for programs that hold an arm where
# one of them stalls for a quarter of a second. Those marked `alone` last, one at a time: they are about milliseconds.
# Status 5 says that no test was chosen, 2 that somebody interrupted or that a file is no test at all.
test: $(VENV)/.installed-test egl
	@failed=0; chosen=0; \
	phase() { $(RUN)/python -m pytest -q $(SIDE_BY_SIDE) $(PYTEST_ARGS) "$$@"; status=$$?; \
	  case $$status in 0) chosen=1;; 5) ;; 2) exit 2;; *) chosen=1; failed=1;; esac; }; \
	phase -m "not alone and not calm"; \
	phase -m calm -n 2; \
	phase -m alone -n 0; \
	[ $$failed = 0 ] && [ $$chosen = 1 ]

fast: $(VENV)/.installed-test egl
	@$(RUN)/python -m pytest -q $(SIDE_BY_SIDE) $(PYTEST_ARGS) -m "not slow"

lint: $(VENV)/.installed-test
	$(RUN)/ruff check .
	$(RUN)/mypy

check: lint fast

bench: $(VENV)/.installed-bench egl
	$(RUN)/robot-rl bench control
	$(RUN)/robot-rl bench env
	$(RUN)/robot-rl bench learner

mutants: $(VENV)/.installed-test
	$(RUN)/python -m tests.mutation.run $(ARGS)

doctor: venv
	$(RUN)/robot-rl doctor

venv: $(VENV)/.installed

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "expected Python 3.11 or 3.12, found none: install it, or give PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(RUN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(RUN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt -e ".[ros,record,dev,bench,realsense,franka,teleop]"
	touch $@

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(RUN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt -e ".[bench]"
	touch $@

# Rendering needs EGL. It is installed here when running as root; without it everything works except pictures.
egl:
	@if ls /usr/lib/*/libEGL.so.1 /usr/lib64/libEGL.so.1 2>/dev/null | grep -q .; then exit 0; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq >/dev/null 2>&1 \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libegl1 libgl1-mesa-dri >/dev/null 2>&1; then echo "installed EGL"; \
	else echo "no EGL library: everything runs, but without pictures (sudo apt-get install libegl1 libgl1-mesa-dri)"; fi

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
