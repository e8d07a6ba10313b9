#!/usr/bin/env bash
# Builds every fuzz target with clang (preset asan) and runs each for some seconds, one per core at a
# time.
#
#   tests/fuzz/run.sh [seconds=60] [target …]
#
# Fails if a target crashes, leaks, hangs for 10 s or takes 2 GiB; the input is kept below
# build/asan/fuzz/crashes/. To keep it for good, copy it into the target's seed corpus. What the
# fuzzer learns stays in build/asan/fuzz/corpus/ and the next run begins with it.
set -euo pipefail

cd "$(dirname "$0")/../.."
seconds="${1:-60}"
shift || true
build="${BATON_FUZZ_BUILD_DIR:-build/asan}"

cmake --preset asan -B "$build" > "/dev/null"
targets=("${@/%/_libfuzzer}")
cmake --build "$build" --target "${targets[@]:-fuzz_targets}"
cd "$build/fuzz"
mkdir -p crashes logs

run_one() {
  local name="$1" seconds="$2"
  shift 2
  mkdir -p "corpus/$name"
  # A lone seed file is given as its content: libFuzzer takes folders as corpora, files as inputs.
  local folders=()
  for seed in "$@"; do
    if [[ -d "$seed" ]]; then folders+=("$seed"); else cp "$seed" "corpus/$name/"; fi
  done
  if "./$name" "corpus/$name" "${folders[@]}" -max_total_time="$seconds" -timeout=10 \
      -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="crashes/$name-" \
      > "logs/$name.log" 2>&1; then
    printf 'ok      %s: %s runs\n' "$name" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "logs/$name.log")"
  else
    printf 'FAILED  %s: its input is kept in %s\n' "$name" "$PWD/crashes"
    tail -n 40 "logs/$name.log"
    return 1
  fi
}
export -f run_one

# One line per target: its name, then its seeds.
while read -r name seeds; do
  if [[ $# -eq 0 || " $* " == *" $name "* ]]; then
    printf '%s %s %s\n' "$name" "$seconds" "$seeds"
  fi
done < targets.txt | xargs -P "$(nproc)" -L 1 bash -c 'run_one "$@"' run_one
