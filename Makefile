# Two commands for a user: `make demo` and `make test`. Both need Python >= 3.10, a C++20 compiler and make; the rest is
# installed into .venv.

PYTHON ?= python3
VENV ?= .venv
# Arguments for every pip call. On a machine without a GPU that installs from the public index, this spares gigabytes:
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
# Arguments for `warpload demo`, for example DEMO_ARGS="--model stabilityai/stable-diffusion-xl-base-1.0".
DEMO_ARGS ?=
JOBS ?= $(shell nproc)
# Arguments for pytest, for example PYTEST_ARGS="-n 0 -k hub".
PYTEST_ARGS ?= -n $(JOBS) --dist worksteal
CONSTRAINTS ?= constraints.txt

BIN := $(abspath $(VENV))/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_ARGS) --constraint $(CONSTRAINTS)
SOURCES := $(shell find csrc python CMakeLists.txt pyproject.toml $(CONSTRAINTS) -type f -not -name '*.so' -not -path '*/__pycache__/*')
CXX_FILES := $(shell find csrc tests benchmarks -name '*.cpp' -o -name '*.hpp' -o -name '*.cu')

.PHONY: demo test test-cpp test-python test-oldest sanitize lint format googletest clean

demo: $(VENV)/.installed
	$(BIN)/warpload demo $(DEMO_ARGS)

test: test-cpp test-python

test-python: $(VENV)/.tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The same Python tests with the oldest versions that pyproject.toml admits, in an environment of their own.
test-oldest:
	$(MAKE) test-python VENV=$(VENV)-oldest CONSTRAINTS=constraints-oldest.txt

# ---- C++ ------------------------------------------------------------------------------------------------------------

test-cpp: $(VENV)/.tests googletest
	$(call ctest,build/tests,)

# The whole C++ suite under AddressSanitizer with UBSan, then under ThreadSanitizer.
sanitize: $(VENV)/.tests googletest
	$(call ctest,build/address,address)
	$(call ctest,build/thread,thread)

define ctest
$(BIN)/cmake -S . -B $(1) -G Ninja -DCMAKE_MAKE_PROGRAM=$(BIN)/ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	-DWARPLOAD_PYTHON=OFF -DWARPLOAD_TESTS=ON -DWARPLOAD_BENCHMARKS=ON -DWARPLOAD_SANITIZE=$(2) \
	-DPython_EXECUTABLE=$(BIN)/python >build.log 2>&1 || { cat build.log; exit 1; }
$(BIN)/cmake --build $(1) --parallel $(JOBS)
cd $(1) && $(BIN)/ctest --output-on-failure --parallel $(JOBS) --no-tests=error
endef

# The system's GoogleTest where there is one or where it can be installed; else CMake fetches a pinned release.
googletest:
	@echo '#include <gtest/gtest.h>' | $(CXX) -E -x c++ - >/dev/null 2>&1 \
	|| { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y libgtest-dev; } \
	|| echo "GoogleTest will be fetched by CMake."

# ---- style ----------------------------------------------------------------------------------------------------------

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

# ---- environment ----------------------------------------------------------------------------------------------------

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch by itself and first: later installs then find their range satisfied.
$(VENV)/.torch: $(CONSTRAINTS) | $(VENV)/bin/python
	$(PIP) torch
	@touch $@

$(VENV)/.installed: $(SOURCES) | $(VENV)/.torch
	$(PIP) .
	@touch $@

$(VENV)/.tests: $(SOURCES) | $(VENV)/.torch
	$(PIP) '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.lint: $(CONSTRAINTS) | $(VENV)/.tests
	$(PIP) ruff mypy clang-format
	@touch $@

clean:
	rm -rf build $(VENV) $(VENV)-oldest build.log
