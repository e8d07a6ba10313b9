#!/usr/bin/env bash
# Runs tests stage by stage and ends with one line: "N passed, N failed".
#
#   tests/run.sh [stage …]         default: unit python
#   tests/run.sh --summary         only counts what earlier runs have left in build/results
#
#   unit     builds everything (preset release) and runs every ctest
#   python   end-to-end tests, the Python client's and a minute of chaos, over the binaries of `unit`
#   chart    helm/baton: what Helm makes of it, and what it refuses; Helm comes from a cache outside of the tree,
#            and what needs it is skipped where it cannot be built within BATON_TOOLS_SECONDS (120)
#   kubernetes  the chart in a real API server with fake nodes (tests/e2e/run.sh --quick); skipped where its programs
#            are not in their cache: tests/e2e/kube/tools.sh brings them in ten minutes, and no test waits for that
#   cuda     all of CUDA, compiled and linked for every GPU that Baton knows, and what the compiler made of
#            it; skipped where there is no CUDA toolkit (deploy/deps/install.sh --cuda)
#   guard    instructions of the hot paths against those that are committed; skipped without valgrind
#   lint     formatting, clang-tidy (over what `unit` has configured) and the syntax of scripts
#   asan     address and undefined-behaviour sanitizers over the ctests
#   tsan     thread sanitizer over the ctests that have threads
#   fuzz     every fuzz target for BATON_FUZZ_SECONDS (60); built with what `asan` builds
#
# Each stage leaves JUnit files in build/results/<stage>; the count is theirs. Every googletest case is one
# test; a program that crashes or cannot be built is one failed test. Exit status 1 when anything failed.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
results=$root/build/results
python=$root/.deps/venv/bin/python
[[ -x $python ]] || python=python3
jobs=${BATON_JOBS:-$(nproc)}

main() {
  local stages=("$@") stage
  if [[ ${1:-} == --summary ]]; then
    summary
    return
  fi
  ((${#stages[@]})) || stages=(unit python)
  for stage in "${stages[@]}"; do
    if [[ $(type -t "stage_$stage") != function ]]; then
      echo "run.sh: unknown stage '$stage' (see the top of $0)" >&2
      exit 2
    fi
  done
  for stage in "${stages[@]}"; do
    rm -rf "${results:?}/$stage"
    mkdir -p "$results/$stage"
    echo "== $stage"
    "stage_$stage"
  done
  summary "${stages[@]}"
}

summary() { "$python" "$root/tests/count.py" "$results" "$@"; }

# A step that is not a test by itself: counted only when it fails.
must() {
  local stage=$1 name=$2
  shift 2
  if "$@"; then return 0; fi
  "$python" "$root/tests/count.py" --record "$results/$stage/$name.xml" "$name" failed
  return 1
}

# As `must`, but counted also when it succeeds.
check() {
  local stage=$1 name=$2
  must "$@" || return 1
  "$python" "$root/tests/count.py" --record "$results/$stage/$name.xml" "$name" passed
}

# build STAGE PRESET [TARGET …]; no target: everything.
build() {
  local stage=$1 preset=$2
  shift 2
  # Said outright: the demo may have configured the same folder without tests.
  # With CUDA where there is a toolkit: the programs that are tested are those that a GPU machine gets.
  must "$stage" "configure-$preset" cmake --preset "$preset" --log-level=WARNING \
    "-DBATON_CUDA=$([[ $preset == release ]] && echo AUTO || echo OFF)" -DBATON_BUILD_TESTS=ON "-DBATON_BUILD_BENCH=$([[ $preset == release ]] && echo ON || echo OFF)" &&
    must "$stage" "build-$preset" cmake --build "build/$preset" -j "$jobs" ${1:+--target "$@"} -- --quiet
}

run_ctest() {
  local stage=$1 preset=$2
  shift 2
  GTEST_OUTPUT="xml:$results/$stage/gtest/" ctest --test-dir "build/$preset" -j "$jobs" \
    --output-on-failure --output-junit "$results/$stage/ctest.xml" --no-tests=error "$@" |
    grep -v -E '^ +Start +[0-9]+:'
  [[ -s $results/$stage/ctest.xml ]] || must "$stage" ctest false
}

# The lines "ok NAME: …", "FAILED NAME: …" and "skipped NAME: …" of build/results/STAGE/log as tests.
record_words() {
  local stage=$1 word rest number=0
  local log=$results/$stage/log
  grep -q -E '^(ok|FAILED|skipped) ' "$log" || must "$stage" "$stage" false
  grep -E '^(ok|FAILED|skipped) ' "$log" | while read -r word rest; do
    "$python" "$root/tests/count.py" --record "$results/$stage/$((++number)).xml" "${rest%%: *}" \
      "$(case $word in ok) echo passed ;; FAILED) echo failed ;; *) echo skipped ;; esac)"
  done
}

stage_unit() { build unit release && run_ctest unit release; }

stage_python() {
  local generated=$root/build/python
  must python generate-stubs "$python" sdk/python/generate.py "$generated" || return
  BATON_SOURCE_DIR=$root BATON_BIN_DIR=${BATON_BIN_DIR:-$root/build/release/bin} \
    PYTHONPATH=$root/sdk/python/src:$generated PYTHONDONTWRITEBYTECODE=1 \
    "$python" -m pytest -q -p no:cacheprovider --junitxml="$results/python/pytest.xml" \
    -c "$root/tests/e2e/pytest.ini" --rootdir="$root" tests/e2e sdk/python/tests tests/chaos
  [[ -s $results/python/pytest.xml ]] || must python pytest false
}

stage_chart() {
  local tools
  # Says by itself what is missing; the tests that miss it are skipped and counted as such.
  tools=$(tests/chart/tools.sh --within "${BATON_TOOLS_SECONDS:-120}") ||
    echo "chart: what needs Helm or the schemas is skipped; tests/chart/tools.sh brings them (about 3 minutes on 2 cores)"
  BATON_CHART_TOOLS=$tools BATON_BIN_DIR=${BATON_BIN_DIR:-$root/build/release/bin} PYTHONDONTWRITEBYTECODE=1 \
    "$python" -m pytest -q -p no:cacheprovider --junitxml="$results/chart/pytest.xml" \
    -c "$root/tests/e2e/pytest.ini" --rootdir="$root" tests/chart
  [[ -s $results/chart/pytest.xml ]] || must chart pytest false
}

stage_kubernetes() {
  tests/e2e/run.sh --quick 2>&1 | tee "$results/kubernetes/log"
  record_words kubernetes
}

# Has something left to build only when `unit` did not run before.
cuda_targets=(kernels_cuda kernels_cuda_gpu_test cuda_oracle_gpu_test cuda_bench model_device_test
  baton-prefill-worker baton-decode-worker)
cuda_tests='kernels_cuda_code_test|model_device_test|kernels_nccl_library_test|nccl_links_test'

stage_cuda() {
  must cuda configure-release cmake --preset release --log-level=WARNING -DBATON_CUDA=AUTO \
    -DBATON_BUILD_TESTS=ON -DBATON_BUILD_BENCH=ON || return
  if ! grep -q '^BATON_CUDA_FOUND:INTERNAL=ON' build/release/CMakeCache.txt; then
    echo "cuda: skipped, no CUDA toolkit here; deploy/deps/install.sh --cuda brings one (no driver needed)"
    "$python" "$root/tests/count.py" --record "$results/cuda/toolkit.xml" toolkit skipped
    return
  fi
  check cuda kernels-alone cmake -S kernels -B build/kernels-alone --log-level=WARNING
  # Where there is a compiler but no NCCL, tensor parallelism and one transport are left out in silence.
  check cuda nccl-header grep -q '^BATON_NCCL_INCLUDE_DIR:PATH=.*include$' build/release/CMakeCache.txt &&
    cuda_targets+=(kernels_nccl_library_test nccl_links_test)
  build cuda release "${cuda_targets[@]}" &&
    run_ctest cuda release -R "^($cuda_tests)\$"
}

stage_lint() {
  check lint format bash -c 'git ls-files "*.h" "*.cc" "*.cu" "*.cuh" | xargs clang-format-19 --dry-run -Werror'
  check lint clang-tidy tools/lint/tidy.sh
  check lint scripts bash -c 'git grep -lE "^#!.*bash" | while read -r script; do bash -n "$script" || exit 1; done'
}

stage_guard() {
  build guard release guard || return
  python3 bench/guard/guard.py | tee "$results/guard/log"
  record_words guard
}

stage_asan() {
  export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
  export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
  build asan asan && run_ctest asan asan
}

# Only what has threads of its own: the rest shows nothing here and takes the longest to build.
tsan_tests=(kernels_thread_pool_test kernels_gemm_test mailbox_test telemetry_test text_tokenizer_test text_encode_cache_test
  transport_contract_test ucx_process_test engine_test engine_threads_test channel_test
  sender_test router_link_test handover_test kv_index_threads_test kv_index_property_test
  span_queue_test client_test router_http_test router_cluster_test)

stage_tsan() {
  export TSAN_OPTIONS="suppressions=$root/tools/cmake/tsan.supp ignore_noninstrumented_modules=1 halt_on_error=1"
  build tsan tsan "${tsan_tests[@]}" &&
    run_ctest tsan tsan -R "^($(IFS='|' && echo "${tsan_tests[*]}"))\$"
}

stage_fuzz() {
  local log=$results/fuzz/log
  tests/fuzz/run.sh "${BATON_FUZZ_SECONDS:-60}" 2>&1 | tee "$log"
  record_words fuzz
}

main "$@"
