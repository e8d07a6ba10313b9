#!/usr/bin/env bash
# Proves Baton on this machine's GPU, and measures it: one command, some minutes.
#
#   tests/gpu/run.sh [OUT-FOLDER]          default: build/gpu-results
#
#   kernels    every kernel and the backend against kernels/reference
#   oracle     whole models against the reference implementation's logits and greedy tokens
#   cluster    one prefill and one decode process on the GPU: hand-overs give the reference's tokens. KV goes
#              through pinned host memory (docs/decisions/0009): the transport does not touch CUDA memory yet
#   sanitizer  compute-sanitizer (memcheck, racecheck) over kernel tests, where the tool is there
#   bench      cuda_bench: every kernel and a decode step beside their floors
#   gemms      the same of GEMMs alone where cuBLASLt, if it is there, serves the sizes that it is faster at
#
# Builds the preset `cuda` for this GPU alone; where the project's other dependencies are missing, kernels/
# alone, and the steps that need more are not run. BIN names a folder that has the programs already. STEPS picks
# steps by name, STEP_SECONDS is for each in place of its own limit. Leaves a log per step, gpu.json, and
# prints a table. Exit status: 0 all that ran passed, 1 something failed, 77 there is no GPU and nothing was run.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=${1:-$root/build/gpu-results}
smi=${NVIDIA_SMI:-nvidia-smi}
rows=()
failed=0

main() {
  local gpu
  if ! command -v "$smi" >/dev/null; then
    echo "tests/gpu/run.sh: skipped, there is no NVIDIA GPU here ($smi is not installed)"
    exit 77
  fi
  if ! gpu=$("$smi" --query-gpu=name,compute_cap,driver_version --format=csv,noheader 2>&1 | head -1) ||
    [[ $gpu != *,*,* ]]; then
    echo "tests/gpu/run.sh: skipped, there is no NVIDIA GPU here (${gpu:-$smi says nothing})"
    exit 77
  fi
  mkdir -p "$out" || exit 1
  local name cap driver
  IFS=, read -r name cap driver <<<"$gpu"
  cap=${cap//[ .]/}
  echo "$name, sm_$cap, driver ${driver# }"
  export BATON_SOURCE_DIR=$root BATON_BIN_DIR=${BIN:-$root/build/gpu/bin}
  [[ -n ${BIN:-} ]] || run build 1500 build "$cap" || { report "$name" "$cap" "${driver# }"; exit 1; }
  [[ -n ${BIN:-} || -x $BATON_BIN_DIR/handover_test ]] || BATON_BIN_DIR=$root/build/gpu-kernels/bin
  with kernels_cuda_gpu_test run kernels 120 "$BATON_BIN_DIR/kernels_cuda_gpu_test"
  with cuda_oracle_gpu_test run oracle 120 "$BATON_BIN_DIR/cuda_oracle_gpu_test"
  with handover_test run cluster 120 cluster
  if sanitizer=$(find_sanitizer); then
    run sanitizer 200 sanitize
  else
    rows+=("sanitizer|not run|0|no compute-sanitizer here")
  fi
  with cuda_bench run bench 240 "$BATON_BIN_DIR/cuda_bench" --json "$out/bench.json"
  with cuda_bench run gemms 120 "$BATON_BIN_DIR/cuda_bench" --json "$out/gemms.json" --gemm auto gemm
  report "$name" "$cap" "${driver# }"
  exit $failed
}

build() {
  case $1 in 90 | 100 | 120) set -- "$1a" ;; esac
  if cmake --preset cuda -S "$root" -B "$root/build/gpu" -DBATON_CUDA_ARCHITECTURES="$1-real" --log-level=WARNING; then
    cmake --build "$root/build/gpu" --target kernels_cuda_gpu_test cuda_oracle_gpu_test cuda_bench handover_test \
      baton-prefill-worker baton-decode-worker
  else
    rm -f "$root/build/gpu/bin/handover_test"
    cmake -S "$root/kernels" -B "$root/build/gpu-kernels" -DBATON_CUDA=ON -DBATON_CUDA_ARCHITECTURES="$1-real" &&
      cmake --build "$root/build/gpu-kernels" -j "$(nproc)" --target kernels_cuda_gpu_test
  fi
}

# with PROGRAM COMMAND …: a row that says so when the program was not built.
with() {
  local program=$1 step=$3
  shift
  if [[ -x $BATON_BIN_DIR/$program ]]; then
    "$@"
  elif [[ -z ${STEPS:-} || " $STEPS " == *" $step "* ]]; then
    rows+=("$step|not run|0|$program is not in $BATON_BIN_DIR")
  fi
}

# Real worker processes, which take these from the environment. Both share the GPU.
cluster() {
  local role
  for role in PREFILL DECODE; do
    export "BATON_${role}_DEVICE=cuda:0" "BATON_${role}_KV_MEMORY=256MiB" "BATON_${role}_DETERMINISTIC=true"
  done
  "$BATON_BIN_DIR/handover_test"
}

find_sanitizer() {
  command -v compute-sanitizer || ls "$root"/.deps/venv/lib/python3*/site-packages/nvidia/cu13/bin/compute-sanitizer \
    /usr/local/cuda/bin/compute-sanitizer 2>/dev/null | head -1 | grep .
}

# The shorter tests, which meet every kernel.
sanitize() {
  local tool
  for tool in memcheck racecheck; do
    "$sanitizer" --tool "$tool" --error-exitcode 9 "$BATON_BIN_DIR/kernels_cuda_gpu_test" \
      --gtest_filter='*EqualsTheReference*:*EqualsTheHosts*:CudaBackend*' || return
  done
}

# run STEP SECONDS COMMAND …: one row of the table. A step longer than its seconds has failed.
run() {
  local step=$1 limit=${STEP_SECONDS:-$2} start=$SECONDS status=passed
  shift 2
  [[ -z ${STEPS:-} || " $STEPS build " == *" $step "* ]] || return 0
  echo "== $step"
  within "$limit" "$@" >"$out/$step.log" 2>&1
  local code=$?
  if ((code != 0)); then
    status=failed failed=1
    tail -20 "$out/$step.log"
  fi
  rows+=("$step|$status|$((SECONDS - start))|$(summary_of "$step" $code)")
  return $code
}

# Functions cannot be given to timeout(1). Each side is a process group, so that nothing of it stays.
within() {
  local limit=$1 code
  shift
  set -m
  ("$@") &
  local child=$!
  (sleep "$limit" && kill -TERM -- "-$child") >/dev/null 2>&1 &
  local guard=$!
  set +m
  wait "$child"
  code=$?
  kill -TERM -- "-$guard" 2>/dev/null
  wait "$guard" 2>/dev/null
  return $code
}

summary_of() {
  local line
  line=$(grep -E '^\[  (PASSED|FAILED)  \] [0-9]+ test|ERROR SUMMARY|RACECHECK SUMMARY' "$out/$1.log" | tail -1)
  echo "${line:-exit status $2}" | tr -d '"|\\'
}

# One table for people, gpu.json for machines.
report() {
  local row step status seconds note first=1 commit
  commit=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
  echo
  printf '%-10s %-8s %8s  %s\n' step result seconds what
  {
    printf '{"commit": "%s", "machine": "%s", "compute_capability": "%s", "driver": "%s", "command": "tests/gpu/run.sh",\n "steps": [' \
      "$commit" "$1" "$2" "$3"
    for row in "${rows[@]}"; do
      IFS='|' read -r step status seconds note <<<"$row"
      printf '%-10s %-8s %8s  %s\n' "$step" "$status" "$seconds" "$note" >&2
      ((first)) || printf ','
      first=0
      printf '\n  {"step": "%s", "result": "%s", "seconds": %s, "note": "%s"}' "$step" "$status" "$seconds" "$note"
    done
    printf '\n ],\n "bench": '
    if [[ -s $out/bench.json ]]; then cat "$out/bench.json"; else printf 'null\n'; fi
    printf ',\n "gemms": '
    if [[ -s $out/gemms.json ]]; then cat "$out/gemms.json"; else printf 'null\n'; fi
    printf '}\n'
  } 2>&1 >"$out/gpu.json"
  [[ ! -s $out/bench.log ]] || { echo && cat "$out/bench.log"; }
  [[ ! -s $out/gemms.log ]] || { echo && cat "$out/gemms.log"; }
  echo
  echo "written: $out/gpu.json"
}

main
