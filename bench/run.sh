#!/usr/bin/env bash
# Measures Baton beside others: in turn, in the same run, on the same model.
#
#   bench/run.sh [suite …]      default: engine
#
#   engine           one engine on one model, no cluster: tokens per second of a prompt, and of 1 to 16 sequences side by side
#   disaggregation   long prompts among running chats, on one worker and on two (bench/serving/disaggregation.sh)
#   router           what a router adds to a request: time to the first token, CPU per request and per chunk
#   index            the router's KV index beside Dynamo's: look-ups and blocks stored per second of one thread
#   plots            draws docs/plots from what the others have left in bench/baselines
#
# ROUNDS (3), THREADS (2), SHAPE (a folder of bench/serving/shapes: qwen2-0.5b), PREFILL (512,2048), DECODE (1,4,8,16).
# Other engines come by bench/peers/install.sh; one that isn't installed is named as skipped. Results go to
# bench/baselines as JSON, and to standard output as a table.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
peers=${BATON_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/baton-peers}
python=.deps/venv/bin/python
[[ -x $python ]] || python=python3

suite_engine() {
  cmake --preset release --log-level=WARNING -DBATON_BUILD_BENCH=ON >/dev/null
  cmake --build build/release -j "$(nproc)" --target engine_bench -- --quiet
  "$python" bench/engine/compare.py --peers "$peers" --bench build/release/bin/engine_bench \
    --shape "bench/serving/shapes/${SHAPE:-qwen2-0.5b}" --rounds "${ROUNDS:-3}" --threads "${THREADS:-2}" \
    --prefill "${PREFILL:-512,2048}" --decode "${DECODE:-1,4,8,16}" --out bench/baselines
}

suite_router() {
  cmake --preset release --log-level=WARNING -DBATON_BUILD_BENCH=ON >/dev/null
  cmake --build build/release -j "$(nproc)" --target router_bench baton-router -- --quiet
  "$python" bench/router/compare.py --peers "$peers" --bin build/release/bin --rounds "${ROUNDS:-3}" --out bench/baselines
}

suite_index() {
  cmake --preset release --log-level=WARNING -DBATON_BUILD_BENCH=ON >/dev/null
  cmake --build build/release -j "$(nproc)" --target kv_index_bench -- --quiet
  "$python" bench/micro/compare_index.py --peers "$peers" --bench build/release/bin/kv_index_bench \
    --rounds "${ROUNDS:-5}" --out bench/baselines
}

suite_disaggregation() {
  cmake --preset release --log-level=WARNING >/dev/null
  cmake --build build/release -j "$(nproc)" --target baton baton-router baton-prefill-worker baton-decode-worker -- --quiet
  bench/serving/disaggregation.sh
}

suite_plots() {
  [[ -x $peers/plots/bin/python ]] || python3 -m venv "$peers/plots"
  "$peers/plots/bin/pip" install --quiet --disable-pip-version-check matplotlib
  "$peers/plots/bin/python" bench/plots/plot.py --baselines bench/baselines --out docs/plots
}

suites=("$@")
((${#suites[@]})) || suites=(engine)
for suite in "${suites[@]}"; do
  if [[ $(type -t "suite_$suite") != function ]]; then
    echo "bench/run.sh: unknown suite '$suite' (see the top of $0)" >&2
    exit 2
  fi
done
for suite in "${suites[@]}"; do "suite_$suite"; done
