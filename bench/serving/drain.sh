#!/usr/bin/env bash
# Measures how long a decode worker with many running requests takes to leave, and what its clients notice.
#
#   bench/serving/drain.sh [RUNNING] [OUT-FILE]
#
# Two decode workers share 2 * RUNNING (100) streams; then one of them is drained. In turn with a run in which
# nobody is, ROUNDS (3) times. See bench/cluster.sh for the rest.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. bench/cluster.sh
running=${1:-100}
out=${2:-bench/baselines/drain.json}
rounds=${ROUNDS:-3}
serve_model models/baton-demo

# Of the decode workers that can be given work: how many there are, or the fewest sequences on one.
decode_workers() {  # HTTP count|least
  "$python" - "$1" "$2" <<'PY'
import json, sys, urllib.request
workers = json.load(urllib.request.urlopen(f"http://{sys.argv[1]}/debug/cluster"))["workers"]
running = [w["load"]["running"] for w in workers if w["role"] == "decode" and w["reachable"]]
print(len(running) if sys.argv[2] == "count" else min(running))
PY
}

run() {  # NAME drain|stay
  start_cluster --decode 2 --threads-per-worker 1 --set decode.kv_memory=1GiB \
    --set decode.batch_sequences_max=$((4 * running)) --set decode.step_tokens_max=$((4 * running + 512))
  "$build/baton" bench --grpc "$grpc" --http "$http" --concurrency $((2 * running)) --requests $((2 * running)) \
    --prompt-tokens 400 --output-tokens 1200 --json "$work/$1.json" >/dev/null &
  local load=$!
  until (($(decode_workers "$http" least) >= running * 8 / 10)); do
    kill -0 "$load" 2>/dev/null || { echo "drain.sh: the load ended before both workers were at work" >&2; exit 1; }
    sleep 0.1
  done
  if [[ $2 == drain ]]; then
    decode_workers "$http" least >"$work/$1.sequences"
    "$build/baton" drain decode-0 --http "$http" | tee "$work/$1.drain"
  fi
  wait "$load"
  stop_cluster
}

for round in $(seq "$rounds"); do
  run "stay-$round" stay
  run "drain-$round" drain
done

"$python" - "$work" "$out" "$running" "$rounds" "$commit" <<'PY'
import json, pathlib, re, statistics, sys
work, out, running, rounds, commit = pathlib.Path(sys.argv[1]), *sys.argv[2:]
runs = []
for name in ("stay", "drain"):
    for i in range(1, int(rounds) + 1):
        figures = json.loads((work / f"{name}-{i}.json").read_text())
        run = {"run": name, "completed": figures["completed"], "errors": figures["errors"], "itl_ms": figures["itl_ms"]}
        if name == "drain":
            run["sequences"] = int((work / f"drain-{i}.sequences").read_text())
            run["left_after_ms"] = int(re.search(r"has left after (\d+)ms", (work / f"drain-{i}.drain").read_text())[1])
        runs.append(run)
cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())[1]
pathlib.Path(out).write_text(json.dumps(
    {"command": f"bench/serving/drain.sh {running}", "commit": commit, "cpu": cpu, "runs": runs}, indent=1) + "\n")
print("\n| | completed | errors | sequences moved | left after, ms | ITL p50, ms | p99 | max |\n" + "| --- " * 8 + "|")
for name in ("stay", "drain"):
    of = [r for r in runs if r["run"] == name]
    def both(values):
        values = [v for v in values if v is not None]
        if not values:
            return "-"
        return f"{statistics.median(values):.0f} ({min(values):.0f} - {max(values):.0f})"
    print(f"| {name} |", " | ".join([
        str(sum(r["completed"] for r in of)), str(sum(sum(r["errors"].values()) for r in of)),
        both([r.get("sequences") for r in of]), both([r.get("left_after_ms") for r in of]),
        *(both([r["itl_ms"][k] for r in of]) for k in ("p50", "p99", "max"))]), "|")
PY
