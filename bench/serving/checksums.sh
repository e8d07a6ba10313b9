#!/usr/bin/env bash
# Measures what verifying every handed-over block costs: time to first token with checksums and without, in turn.
#
#   bench/serving/checksums.sh [SHAPE-FOLDER] [OUT-FILE]
#
# One client, prompts of TOKENS (2048) tokens, every one computed by the prefill worker, ROUNDS (5) times each.
# SHAPE-FOLDER: bench/serving/shapes/qwen2-0.5b. See bench/cluster.sh for the rest.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. bench/cluster.sh
serve_model "${1:-bench/serving/shapes/qwen2-0.5b}"
out=${2:-bench/baselines/checksums.json}
rounds=${ROUNDS:-5}
tokens=${TOKENS:-2048}

run() {  # NAME true|false
  start_cluster --threads-per-worker 1 --placement always-remote \
    --set decode.checksums="$2" --set prefill.checksums="$2"
  "$build/baton" bench --grpc "$grpc" --http "$http" --concurrency 1 --requests 12 --seed 7 \
    --prompt-tokens "$tokens" --output-tokens 2 --json "$work/$1.json" >/dev/null
  stop_cluster
}

for round in $(seq "$rounds"); do
  run "off-$round" false
  run "on-$round" true
done

"$python" - "$work" "$out" "$rounds" "$tokens" "$commit" <<'PY'
import json, pathlib, statistics, sys
work, out, rounds, tokens, commit = pathlib.Path(sys.argv[1]), *sys.argv[2:]
ttft = {name: [json.loads((work / f"{name}-{i}.json").read_text())["ttft_ms"]["p50"] for i in range(1, int(rounds) + 1)]
        for name in ("off", "on")}
ratios = [on / off for on, off in zip(ttft["on"], ttft["off"])]
pathlib.Path(out).write_text(json.dumps({
    "commit": commit, "command": "bench/serving/checksums.sh", "prompt_tokens": int(tokens), "ttft_p50_ms": ttft,
    "on_over_off": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}}, indent=1) + "\n")
for name, values in ttft.items():
    print(f"checksums {name:3}  TTFT p50 {statistics.median(values):8.1f} ms ({min(values):.1f} - {max(values):.1f})")
print(f"on / off: {statistics.median(ratios):.4f} ({min(ratios):.4f} - {max(ratios):.4f})")
PY
