#!/usr/bin/env bash
# Measures one model under a few loads, with local and with remote prefill.
#
#   bench/serving/run.sh [MODEL-FOLDER] [OUT-FOLDER]
#
# LOADS picks loads by name; DURATION (20s) is per load; see bench/cluster.sh for the rest.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. bench/cluster.sh
name=$(basename "${1:-models/baton-demo}")
serve_model "${1:-models/baton-demo}"
out=${2:-bench/baselines/serving}
mkdir -p "$out"

# name | what it sends
loads=(
  "one-at-a-time|--concurrency 1 --prompt-tokens 512 --output-tokens 64"
  "eight-at-once|--concurrency 8 --prompt-tokens 256 --output-tokens 64"
  "open-loop|--rate ${RATE:-4} --prompt-tokens lognormal:200,0.6 --output-tokens lognormal:48,0.5 --slo-ttft 500ms --slo-itl 50ms"
  "shared-prefix|--rate ${RATE:-4} --prompt-tokens 300 --output-tokens 32 --shared-prefix-share 0.8 --shared-prefix-tokens 256"
)

for placement in always-local always-remote cost; do
  start_cluster --placement "$placement"
  for load in "${loads[@]}"; do
    [[ -z ${LOADS:-} || " $LOADS " == *" ${load%%|*} "* ]] || continue
    echo "== $name, $placement, ${load%%|*}"
    # shellcheck disable=SC2086
    "$build/baton" bench --grpc "$grpc" --http "$http" --warmup 2s --duration "${DURATION:-20s}" ${load#*|} \
      --note "commit $commit, placement $placement ${model_flags[*]} ${UP_FLAGS:-}" --json "$out/$name-$placement-${load%%|*}.json"
  done
  stop_cluster
done
