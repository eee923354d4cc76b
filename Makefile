# Everything sets itself up: a virtual environment in .venv, filled from the hashed locks.
PYTHON ?= python3
BIN := .venv/bin
# --no-deps: the locks are whole, and older pips look for newer versions of what is asked for with an extra.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps

PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0
# What kills and freezes the service (docs/decisions/0006); not traced for coverage, which doubles its time.
PROOF := $(wildcard tests/test_kills_*.py tests/test_freezes.py tests/test_chaos.py \
	tests/test_simulation_*.py tests/test_state_machine.py tests/test_guards.py)
TORTURE ?= 1

.PHONY: demo test torture run doctor lint format bench messages lock clean

demo: .venv/run.stamp  ## the main job on this machine alone; PHOTO= and VOICE= take your own
	@$(BIN)/python -m bot demo $(if $(PHOTO),--photo "$(PHOTO)") $(if $(VOICE),--voice "$(VOICE)")

test: lint  ## every check that CI runs
	$(PYTEST) --cov --cov-report=term --cov-fail-under=95 $(addprefix --ignore=,$(PROOF))
	$(PYTEST) $(PROOF)

torture: .venv/dev.stamp  ## the long form of the tests that kill and freeze it; TORTURE=2 is twice as long again
	TORTURE=$(TORTURE) $(PYTEST) $(PROOF)

run: .venv/run.stamp  ## the service, with the settings from the environment or .env
	@exec $(BIN)/python -m bot run

doctor: .venv/run.stamp  ## checks those settings, and every service that they name
	@$(BIN)/python -m bot doctor

lint: .venv/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/python -m tools.audit requirements-observability.lock

format: .venv/dev.stamp
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/dev.stamp  ## what we claim about speed
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.history

messages: .venv/dev.stamp  ## bring the translations up to date with the messages that are marked in bot/texts
	$(BIN)/pybabel -q extract --no-location --no-wrap --omit-header -k N_ -k NN_:1,2 -o bot/locales/bot.pot bot/texts
	for language in bot/locales/*/; do $(BIN)/pybabel -q update --no-wrap --no-fuzzy-matching --ignore-obsolete \
		--ignore-pot-creation-date -D bot -i bot/locales/bot.pot -d bot/locales -l $$(basename $$language) || exit 1; done

COMPILE := uv pip compile pyproject.toml --extra postgres --generate-hashes --no-emit-index-url --no-annotate --no-header \
	--universal --python-version 3.11 --no-emit-package pip --upgrade

lock:  ## pin the dependencies anew (needs uv)
	$(COMPILE) -o requirements.lock
	$(COMPILE) --extra sentry --extra otel -o requirements-observability.lock
	$(COMPILE) --extra sentry --extra otel --group dev -o requirements-dev.lock

clean:
	rm -rf .venv demo-output .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run.stamp: requirements.lock | .venv/bin/python
	$(PIP_INSTALL) -r requirements.lock
	@touch $@

.venv/dev.stamp: requirements-dev.lock | .venv/bin/python
	$(PIP_INSTALL) -r requirements-dev.lock
	@touch $@ .venv/run.stamp
