# Two commands for a newcomer: `make quickstart` and `make test`. The rest is for developers.
PYTHON ?= python3
VENV ?= .venv
RUN := runs/quickstart

.PHONY: quickstart test wheel lint format docs clean

quickstart: $(VENV)/installed
	$(VENV)/bin/tfsent train quickstart --run-dir $(RUN) --overwrite
	$(VENV)/bin/tfsent evaluate $(RUN)
	$(VENV)/bin/tfsent export $(RUN)
	$(VENV)/bin/tfsent predict $(RUN) "Loved every minute." "Dull, and far too long."
	@echo "How good, where not, and may it ship: open $(RUN)/report.html"

test: $(VENV)/installed-dev
	@echo "All tests, 10 to 15 minutes on 2 cores. One wing alone: $(VENV)/bin/python -m pytest tests/data"
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

wheel: $(VENV)/installed-dev
	rm -rf dist $(VENV)-wheel
	$(VENV)/bin/python -m build --quiet --wheel
	$(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet dist/*.whl
	cd / && "$(abspath $(VENV)-wheel)/bin/tfsent" recipes ls
	cd / && "$(abspath $(VENV)-wheel)/bin/tfsent" doctor
	rm -rf $(VENV)-wheel

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/installed-dev
	$(VENV)/bin/python docs/build_tables.py

clean:
	rm -rf $(VENV) $(VENV)-wheel build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "tfsent needs Python 3.11, 3.12 or 3.13; $(PYTHON) is another. Try: make quickstart PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	@echo "Installing tfsent and TensorFlow into $(VENV) (a few minutes the first time) …"
	$(VENV)/bin/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml
	@echo "Installing tfsent, TensorFlow and the test tools into $(VENV) (a few minutes the first time) …"
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	touch $@
