# `make demo` and `make test` set up everything they need in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# Packages one by one in a line that redraws (in a file: every twentieth), the whole output in .venv/install.log.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
define pip_install
	@[ -t 1 ] && tty=1; $(BIN)/python -m pip install --constraint constraints.txt --progress-bar off $(1) 2>&1 \
	| tee -a $(VENV)/install.log | awk -v tty=$$tty ' \
	    /^(Collecting|Downloading|Installing|Successfully|ERROR|error)/ { n++; line = substr($$0, 1, 78); \
	      if (tty && !/^(ERROR|error)/) printf "\r\033[K%s", line; \
	      else if (n % 20 == 1 || !/^(Collecting|Downloading)/) print line; fflush() } \
	    END { if (tty) print "" }'
endef

.PHONY: install demo test quick lint fuzz clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin
	$(call pip_install,torch torchvision)
	$(call pip_install,--editable '.[dev]')
	@touch $@ $(VENV)/installed-demo

# What the demonstration needs, without the tools of developers and clusters.
$(VENV)/installed-demo: pyproject.toml constraints.txt | $(VENV)/bin
	$(call pip_install,torch torchvision)
	$(call pip_install,--editable '.[demo]')
	@touch $@

$(VENV)/bin:
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip

demo: $(VENV)/installed-demo
	$(BIN)/paraspinal demo -o demo

test: install
	$(PYTEST)

quick: install
	$(PYTEST) -m "not slow"

# Broken files of every kind for an hour (or SECONDS_OF_FUZZING); what breaks a reader is kept in found/.
SECONDS_OF_FUZZING ?= 3600
fuzz: install
	cd tests && ../$(BIN)/python -m helpers.fuzzing.hunt --seconds $(SECONDS_OF_FUZZING) --keep ../found

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p paraspinal_nnunet
	$(BIN)/vulture

# In an environment of its own: the site needs nothing of the program.
docs: .venv-docs/installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet

.venv-docs/installed: constraints.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --constraint constraints.txt mkdocs-material
	touch $@

clean:
	rm -rf $(VENV) .venv-docs site demo build dist *.egg-info
