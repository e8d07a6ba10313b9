#!/usr/bin/env bash
# Measures one model under a few loads, with local and with remote prefill.
#
#   bench/serving/run.sh [MODEL-FOLDER] [OUT-FOLDER]
#
# A folder with nothing but a config.json (bench/serving/shapes/*) is a shape: it is served with random bf16
# weights and the demo model's tokenizer. LOADS picks loads by name.
# BUILD (build/release) has the programs; UP_FLAGS go to `baton up`; DURATION (20s) is per load.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
model=${1:-models/baton-demo}
out=${2:-bench/baselines/serving}
baton=${BUILD:-build/release}/bin/baton
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
name=$(basename "$model")
mkdir -p "$out"
shape=
if [[ ! -f $model/tokenizer.json ]]; then
  shape=$(mktemp -d)
  mkdir "$shape/$name"
  cp "$model/config.json" models/baton-demo/tokenizer.json models/baton-demo/tokenizer_config.json "$shape/$name"
  model=$shape/$name
  UP_FLAGS="--load-format random --dtype bf16 ${UP_FLAGS:-}"
fi

# name | what it sends
loads=(
  "one-at-a-time|--concurrency 1 --prompt-tokens 512 --output-tokens 64"
  "eight-at-once|--concurrency 8 --prompt-tokens 256 --output-tokens 64"
  "open-loop|--rate ${RATE:-4} --prompt-tokens lognormal:200,0.6 --output-tokens lognormal:48,0.5 --slo-ttft 500ms --slo-itl 50ms"
  "shared-prefix|--rate ${RATE:-4} --prompt-tokens 300 --output-tokens 32 --shared-prefix-share 0.8 --shared-prefix-tokens 256"
)

stop_cluster() {
  [[ -n ${up:-} ]] && kill -INT "$up" 2>/dev/null && wait "$up" || true
  up=
}
clean_up() {
  stop_cluster
  [[ -z $shape ]] || rm -rf "$shape"
}
trap clean_up EXIT

for placement in always-local always-remote cost; do
  log=$(mktemp)
  # shellcheck disable=SC2086
  "$baton" up --model "$model" --http 127.0.0.1:0 --grpc 127.0.0.1:0 --placement "$placement" ${UP_FLAGS:-} >"$log" 2>&1 &
  up=$!
  until grep -q "Baton is ready" "$log"; do
    kill -0 "$up" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.2
  done
  grpc=$(sed -n 's/^ *gRPC  *//p' "$log")
  http=$(sed -n 's|^ *OpenAI API  *http://\(.*\)/v1$|\1|p' "$log")
  for load in "${loads[@]}"; do
    [[ -z ${LOADS:-} || " $LOADS " == *" ${load%%|*} "* ]] || continue
    echo "== $name, $placement, ${load%%|*}"
    # shellcheck disable=SC2086
    "$baton" bench --grpc "$grpc" --http "$http" --warmup 2s --duration "${DURATION:-20s}" ${load#*|} \
      --note "commit $commit, placement $placement ${UP_FLAGS:-}" --json "$out/$name-$placement-${load%%|*}.json"
  done
  stop_cluster
  rm -f "$log"
done
