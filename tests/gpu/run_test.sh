#!/usr/bin/env bash
# What run.sh itself does, with a made-up GPU and made-up programs: skips, counts, reports.
#   run_test.sh PYTHON
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
wrong=0

expect() {
  local what=$1
  shift
  if "$@"; then echo "ok $what"; else echo "WRONG $what"; wrong=1; fi
}
program() { printf '#!/bin/sh\n%s\n' "$2" >"$folder/bin/$1" && chmod +x "$folder/bin/$1"; }
json() { "$python" -c 'import json, sys; d = json.load(open(sys.argv[1])); sys.exit(0 if eval(sys.argv[2]) else 1)' \
  "$folder/out/gpu.json" "$1"; }
run() { NVIDIA_SMI=$folder/bin/smi BIN=$folder/bin STEPS="kernels oracle cluster bench gemms" "$here/run.sh" "$folder/out"; }

mkdir "$folder/bin"
said=$(NVIDIA_SMI=$folder/none "$here/run.sh" "$folder/out" 2>&1)
code=$?
expect "without a GPU it skips" test "$code" = 77
expect "and says so in one line" test "$(wc -l <<<"$said")" = 1
expect "that names the reason" grep -q "no NVIDIA GPU here" <<<"$said"

program smi 'echo "NVIDIA Made Up, 9.0, 580.1"'
program kernels_cuda_gpu_test 'echo "[  PASSED  ] 67 tests."'
program cuda_oracle_gpu_test 'echo "[  PASSED  ] 37 tests."'
program handover_test 'test "$BATON_DECODE_DEVICE" = cuda:0 && echo "[  PASSED  ] 7 tests."'
program cuda_bench 'echo "{\"rows\": [], \"by\": \"$4\"}" > "$2"; echo "copy 100 %"'
said=$(run 2>&1)
code=$?
expect "all steps pass" test "$code" = 0
expect "the table has them" grep -qE "^kernels +passed .* 67 tests" <<<"$said"
expect "the benches are shown" grep -q "copy 100 %" <<<"$said"
expect "the JSON is one" json 'd["machine"] == "NVIDIA Made Up" and d["compute_capability"] == "90"'
expect "it has every step" json '[s["step"] for s in d["steps"] if s["result"] == "passed"] == ["kernels", "oracle", "cluster", "bench", "gemms"]'
expect "it has the benches" json 'd["bench"]["rows"] == [] and d["gemms"]["by"] == "auto"'

program cuda_oracle_gpu_test 'echo "[  FAILED  ] 1 test, listed below:"; exit 1'
said=$(run 2>&1)
code=$?
expect "a failed step fails the whole" test "$code" = 1
expect "the others ran" json '[s["result"] for s in d["steps"] if s["step"] != "sanitizer"] == ["passed", "failed", "passed", "passed", "passed"]'

rm "$folder/bin/handover_test"
said=$(run 2>&1)
expect "a step without its program is not run" json '[s["result"] for s in d["steps"] if s["step"] == "cluster"] == ["not run"]'

program cuda_bench 'sleep 60; echo late'
said=$(STEP_SECONDS=1 run 2>&1)
expect "a step that hangs is ended" json 'd["steps"][-1]["result"] == "failed" and d["steps"][-1]["seconds"] < 30'
expect "with all it has started" test -z "$(pgrep -f "$folder/bin/cuda_bench")"
exit $wrong
