# Sourced by the benches that measure a whole cluster: starts one by `baton up`, and stops it when the bench ends,
# however it ends. The bench is at the top of the tree by then, with `set -euo pipefail`.
#
# BUILD (build/release) has the programs; UP_FLAGS go to `baton up`; PRIORITY (0) is what the cluster is niced by.
# shellcheck shell=bash

build=${BUILD:-build/release}/bin
python=.deps/venv/bin/python
[[ -x $python ]] || python=python3
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
work=$(mktemp -d)
up=    # the cluster's process
grpc=  # its doors
http=
model=        # what serve_model has made ready: a folder,
model_flags=()  # and how `baton up` is to serve it

# A folder with nothing but a config.json (bench/serving/shapes/*) is a shape: random bf16 weights, and the demo model's
# tokenizer.
serve_model() {  # FOLDER
  model=$1
  model_flags=()
  [[ ! -f $model/tokenizer.json ]] || return 0
  model=$work/$(basename "$1")
  mkdir "$model"
  cp "$1/config.json" models/baton-demo/tokenizer.json models/baton-demo/tokenizer_config.json "$model"
  model_flags=(--load-format random --dtype bf16)
}

# With doors of its own; returns when every worker can be reached.
start_cluster() {  # what else `baton up` is told
  : >"$work/up"
  # shellcheck disable=SC2086
  nice -n "${PRIORITY:-0}" "$build/baton" up --model "$model" "${model_flags[@]}" \
    --http 127.0.0.1:0 --grpc 127.0.0.1:0 "$@" ${UP_FLAGS:-} >>"$work/up" 2>&1 &
  up=$!
  until grep -q "Baton is ready" "$work/up"; do
    kill -0 "$up" 2>/dev/null || { cat "$work/up" >&2; exit 1; }
    sleep 0.2
  done
  grpc=$(sed -n 's/^ *gRPC  *//p' "$work/up")
  http=$(sed -n 's|^ *OpenAI API  *http://\(.*\)/v1$|\1|p' "$work/up")
}

stop_cluster() {
  [[ -n $up ]] && kill -INT "$up" 2>/dev/null && wait "$up" || true
  up=
}
trap 'stop_cluster; rm -rf "$work"' EXIT
