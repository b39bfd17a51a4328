# Every target makes .venv when it is missing or when what it is made from has changed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint transformers-tests bench bench-speed cards clean

demo: .venv/.installed
	$(BIN)/python -m train_scripts.demo

test: .venv/.installed-test
	$(BIN)/python -m pytest

# The Transformers team's model rules. Left out: TRF028 (their licence header; ours is the LICENSE file), TRF038 (their
# folder for tests) and TRF057 (@auto_docstring fills in arguments of their library; our docstrings are written out).
lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	sed -E '/^\[rules\.TRF0(28|38|57)\]/,/^default_enabled/s/^default_enabled = true/default_enabled = false/' \
		$$($(BIN)/python -c 'import mlinter, pathlib; print(pathlib.Path(mlinter.__file__).with_name("rules.toml"))') \
		> .venv/mlinter-rules.toml
	$(BIN)/mlinter --rules-toml .venv/mlinter-rules.toml --no-cache --no-progress modeling_sleepvit/

# The Transformers team's own tests of models. They come with the source release alone; their marks are not ours.
TRANSFORMERS_TESTS := .venv/transformers-tests
transformers-tests: $(TRANSFORMERS_TESTS)/.downloaded
	TRANSFORMERS_TESTS=$(TRANSFORMERS_TESTS) OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
		-o addopts="-q --import-mode=importlib" -W ignore::pytest.PytestUnknownMarkWarning \
		tests/modeling_sleepvit/test_transformers_suite.py

$(TRANSFORMERS_TESTS)/.downloaded: .venv/.installed-test
	rm -rf $(@D)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary transformers --dest $(@D) \
		"$$($(BIN)/python -m pip freeze | grep '^transformers==')"
	tar -xzf $(@D)/transformers-*.tar.gz -C $(@D) --strip-components=1 --wildcards '*/tests'
	mv $(@D)/tests $(@D)/transformers_tests
	touch $(@D)/transformers_tests/__init__.py $@

# All tables from the published predictions and results, in less than a minute.
bench: .venv/.installed-test
	$(BIN)/python -m benchmarks.leave_one_subject_out
	$(BIN)/python -m benchmarks.transfer
	$(BIN)/python -m benchmarks.fine_tuning
	$(BIN)/python -m benchmarks.choices
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.exports
	$(BIN)/python -m benchmarks.faithfulness
	$(BIN)/python -m benchmarks.architectures

# Times, measured anew on this machine.
bench-speed: .venv/.installed-test
	$(BIN)/python -m benchmarks.staging_speed
	$(BIN)/python -m benchmarks.prepare

# Fill cards and README from the committed metrics files.
cards: .venv/.installed-test
	$(BIN)/python -m model_cards.build_cards

.venv/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf .venv demo_output
