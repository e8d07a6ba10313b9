#!/usr/bin/env bash
# Holds the simulator against a real cluster on this machine: a trace is replayed by both, and what was predicted is
# put beside what was measured.
#
#   bench/simulation/validate.sh [MODEL-FOLDER] [OUT-FILE]
#
# Every round has a cluster of its own (`baton up`). One client alone shows what a message between processes, the pause
# between two steps and a hand-over take; a load of other requests lets the workers measure their steps. From these
# figures, and before the trace is sent, comes the simulated cluster. A round during which others took more than QUIET (5)
# percent of the CPU time is written down, does not count, and is done again, at most ATTEMPTS (9) in all, until there
# are ROUNDS (3); if none was quiet, all count. RATE and REQUESTS of the trace, PROMPT and OUTPUT its median lengths;
# PREFILL and DECODE workers; PLACEMENT. See bench/cluster.sh for the rest.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. bench/cluster.sh
name=$(basename "${1:-bench/serving/shapes/qwen2-0.5b}")
serve_model "${1:-bench/serving/shapes/qwen2-0.5b}"
out=${2:-bench/baselines/simulation_validation.json}
rounds=${ROUNDS:-3}
policy=${PLACEMENT:-cost}
attempts=${ATTEMPTS:-9}
rate=${RATE:-0.4} requests=${REQUESTS:-40} prompt=${PROMPT:-160} output=${OUTPUT:-32}

# Poisson arrivals, lengths of a lognormal distribution, nothing shared.
"$python" - "$rate" "$requests" "$prompt" "$output" >"$work/trace" <<'PY'
import json, math, random, sys
rate, requests, prompt, output = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
dice, at = random.Random(7), 0.0
def length(median, sigma, most):
    return max(2, min(most, int(dice.lognormvariate(math.log(median), sigma))))
for _ in range(requests):
    print(json.dumps({"timestamp": round(at, 3), "input_length": length(prompt, 0.6, 4 * prompt),
                      "output_length": length(output, 0.5, 4 * output)}))
    at += 1e3 * dice.expovariate(rate)
PY

# CPU time so far, in ticks: of the cluster and its clients, of everybody, that there was.
cpu_times() {
  "$python" - "$up" $$ <<'PY'
import glob, sys
up, shell = sys.argv[1:]
ours = 0
for path in glob.glob("/proc/[0-9]*/stat"):
    try:
        pid, rest = path.split("/")[2], open(path).read().rsplit(")", 1)[1].split()
    except OSError:
        continue
    if rest[1] == up: ours += int(rest[11]) + int(rest[12])
    if pid == shell: ours += int(rest[13]) + int(rest[14])  # of its children that have ended: the clients
cpu = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
print(ours, sum(cpu) - cpu[3] - cpu[4], sum(cpu))
PY
}

load() {  # what else `baton bench` is told
  nice -n "${PRIORITY:-0}" "$build/baton" bench --grpc "$grpc" --http "$http" "$@" >/dev/null
}

place() {  # POLICY
  "$python" - "http://$http/admin/placement" "$1" <<'PY'
import json, sys, urllib.request
body = json.dumps({"policy": sys.argv[2]}).encode()
urllib.request.urlopen(urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"}, method="PUT"))
PY
}

run() {  # ROUND
  start_cluster --prefill "${PREFILL:-1}" --decode "${DECODE:-1}" --threads-per-worker 1 --placement "$policy"
  load --rate "$rate" --requests 16 --prompt-tokens 1 --output-tokens 16 --seed 11 --each "$work/hop-$1"
  for where in local remote; do
    place "always-$where"
    load --concurrency 1 --requests 12 --prompt-tokens "$prompt" --output-tokens 16 --seed "12${#where}" \
      --each "$work/$where-$1"
  done
  place "$policy"
  load --rate "$rate" --requests $((requests * 2 / 3)) --prompt-tokens "lognormal:$prompt,0.6" \
    --output-tokens "lognormal:$output,0.5" --seed 13
  "$python" -c "import urllib.request; print(urllib.request.urlopen('http://$http/debug/cluster').read().decode())" \
    >"$work/page-$1"
  cut -d' ' -f1 /proc/loadavg >"$work/load-$1"
  cpu_times >"$work/cpu-$1"
  load --trace "$work/trace" --each "$work/measured-$1"
  cpu_times >>"$work/cpu-$1"
  stop_cluster
  simulate "$1"
}

simulate() {  # ROUND
  "$python" - "$work" "$1" "$prompt" >"$work/flags" <<'PY'
import json, statistics, sys
work, round, prompt = sys.argv[1:]
def median(name, figure):
    return statistics.median(figure(json.loads(line)) for line in open(f"{work}/{name}-{round}"))
ttft = lambda r: r["ttft_ms"] - r["late_ms"]
tpot = lambda r: (r["e2e_ms"] - r["ttft_ms"]) / (r["output_tokens"] - 1)
workers = json.load(open(f"{work}/page-{round}"))["workers"]
fit = [w for w in workers if w["role"] == "decode"][0]["load"]["fit"]
step = fit["base_ms"] + fit["per_decode_ms"] + fit["per_context_token_ms"] * (int(prompt) + 8)
gap = max(0.0, median("local", tpot) - step)
# A prompt of one token is a step like any other: the rest is client, router, worker and back.
hop = max(0.02, median("hop", lambda r: ttft(r) - tpot(r)) / 4)
handover = max(0.0, median("remote", ttft) - median("local", ttft) - 2 * hop)
print(f"--hop-ms {hop:.4f} --step-gap-ms {gap:.4f} --handover-ms {handover:.4f}")
PY
  # shellcheck disable=SC2046
  "$build/placement_simulation" --cluster "$work/page-$1" --mooncake "$work/trace" --policy "$policy" \
    --each "$work/predicted-$1" $(cat "$work/flags") >/dev/null
  cp "$work/flags" "$work/flags-$1"
}

# Of the rounds so far: how many others disturbed little enough.
quiet_rounds() {
  awk -v quiet="${QUIET:-5}" 'FNR == 1 {ours = $1; busy = $2; all = $3}
    FNR == 2 && 100 * ($2 - busy - $1 + ours) <= quiet * ($3 - all) {n++}
    END {print n + 0}' "$work"/cpu-*
}

done=0
while ((done < attempts)); do
  run $((++done))
  (($(quiet_rounds) < rounds)) || break
done
[[ -z ${KEEP:-} ]] || cp -r "$work" "$KEEP"

"$python" bench/simulation/validation_table.py "$work" "$out" "$name" "$done" "${QUIET:-5}" \
  "$commit" \
  "RATE=$rate REQUESTS=$requests PROMPT=$prompt OUTPUT=$output ROUNDS=$rounds bench/simulation/validate.sh $name"
