#!/usr/bin/env bash
# Long prompts arrive among running chats: what both feel of it on one worker with two threads, and on a prefill and a
# decode worker with one thread each. The same cores, the same load, in turn.
#
#   bench/serving/disaggregation.sh [MODEL-FOLDER] [OUT-FILE]
#
# Open loop, Poisson arrivals: CHAT (64 tokens in, 64 out) and LONG (512 in, 8 out), CHATS chats for each long prompt (4),
# at each of RATES chats a second ("0.4 0.8 1.2 1.6"), DURATION (60s) each, ROUNDS (1). A chat is good when its first
# token comes within SLO_TTFT (2s) and its tokens within SLO_ITL (80ms) on average, a long prompt within SLO_LONG (10s).
# See bench/cluster.sh for the rest; bench/plots draws what this leaves.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. bench/cluster.sh
name=$(basename "${1:-bench/serving/shapes/smollm2-135m}")
serve_model "${1:-bench/serving/shapes/smollm2-135m}"
out=${2:-bench/baselines/disaggregation.json}
chats=${CHATS:-4}
settings=$(env | sed -nE 's/^(CHAT|LONG|CHATS|RATES|DURATION|ROUNDS|SLO_TTFT|SLO_ITL|SLO_LONG)=(.*)/\1="\2"/p' | sort | tr '\n' ' ')

# name | how `baton up` is told
setups=(
  "one worker|--prefill 0 --decode 1 --threads-per-worker 2"
  "prefill + decode, all prompts remote|--prefill 1 --decode 1 --threads-per-worker 1 --placement always-remote"
  "prefill + decode, the router chooses|--prefill 1 --decode 1 --threads-per-worker 1 --placement cost --set router.itl_target=${SLO_ITL:-80ms}"
)

load() {  # RATE SEED OUT-TOKENS and what else `baton bench` is told
  "$build/baton" bench --grpc "$grpc" --http "$http" --warmup 5s --duration "${DURATION:-60s}" --rate "$1" --seed "$2" "${@:3}" >/dev/null
}

for ((round = 1; round <= ${ROUNDS:-1}; ++round)); do
  for rate in ${RATES:-0.4 0.8 1.2 1.6}; do
    for setup in "${setups[@]}"; do
      # shellcheck disable=SC2086
      start_cluster ${setup#*|}
      # shellcheck disable=SC2046
      load "$rate" 1 $(printf -- '--prompt-tokens %s --output-tokens %s' ${CHAT:-64 64}) --slo-ttft "${SLO_TTFT:-2s}" \
        --slo-itl "${SLO_ITL:-80ms}" --json "$work/chat.json" &
      chatting=$!
      # shellcheck disable=SC2046
      load "$("$python" -c "print($rate / $chats)")" 2 $(printf -- '--prompt-tokens %s --output-tokens %s' ${LONG:-512 8}) \
        --slo-ttft "${SLO_LONG:-10s}" --json "$work/long.json"
      wait "$chatting"
      stop_cluster
      "$python" - "${setup%%|*}" "$rate" "$round" "$work/chat.json" "$work/long.json" <<'PY' | tee -a "$work/points"
import json, sys
setup, rate, round_ = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
def read(path):
    report = json.load(open(path))
    return {"requests": report["requests"], "good_share": report["good_share"], "errors": report["errors"],
            "remote_prefills": report["remote_prefills"], "tokens_per_s": report["output_tokens_per_second"],
            **{f"{what}_{q}": report[f"{what}_ms"][q] for what in ("ttft", "itl") for q in ("p50", "p99")}}
print(json.dumps({"setup": setup, "chats_per_s": rate, "round": round_, "chat": read(sys.argv[4]), "long": read(sys.argv[5])}))
PY
    done
  done
done

"$python" - "$work/points" "$name" "$commit" "${settings}bench/serving/disaggregation.sh ${1:-}" >"$out" <<'PY'
import json, platform, sys
points, name, commit, command = sys.argv[1:]
cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
print(json.dumps({"model": name, "commit": commit, "command": command.strip(), "cpu": cpu,
                  "points": [json.loads(line) for line in open(points)]}, indent=1))
PY
echo "written: $out"
