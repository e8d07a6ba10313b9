#!/usr/bin/env bash
# Installs the engines and routers that Baton is measured beside, and the model that all of them run, into a cache outside the tree:
# BATON_PEERS, else ~/.cache/baton-peers (about 8 GB). Baton needs none of this to be built or tested.
#
#   bench/peers/install.sh [SHAPE-FOLDER …]      default: bench/serving/shapes/qwen2-0.5b
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
peers=${BATON_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/baton-peers}
shapes=("$@")
((${#shapes[@]})) || shapes=(bench/serving/shapes/qwen2-0.5b)

mkdir -p "$peers"
[[ -x $peers/venv/bin/python ]] || python3 -m venv "$peers/venv"
"$peers/venv/bin/pip" install --quiet torch transformers 'optimum-intel[openvino]' openvino-genai numpy gguf
# Built from source for this machine's instructions: some minutes.
"$peers/venv/bin/python" -c 'import llama_cpp' 2>/dev/null ||
  CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAMA_BUILD_EXAMPLES=OFF" "$peers/venv/bin/pip" install --quiet --no-binary llama-cpp-python llama-cpp-python

# Proxies and routers, without touching the system: packages are unpacked, not installed.
"$peers/venv/bin/pip" install --quiet sglang-router
if [[ ! -x $peers/apt/usr/sbin/haproxy ]]; then
  mkdir -p "$peers/apt" "$peers/debs"
  (cd "$peers/debs" && apt-get download -qq nginx haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1)
  for package in "$peers"/debs/*.deb; do dpkg -x "$package" "$peers/apt"; done
fi

for shape in "${shapes[@]}"; do
  name=$(basename "$shape")
  [[ -d $peers/$name ]] || "$peers/venv/bin/python" bench/peers/random_model.py "$shape" models/baton-demo "$peers/$name"
  [[ -f $peers/$name.gguf ]] || "$peers/venv/bin/python" bench/peers/gguf_model.py "$peers/$name" "$peers/$name.gguf"
  if [[ ! -d $peers/$name-openvino ]]; then
    "$peers/venv/bin/optimum-cli" export openvino --model "$peers/$name" --task text-generation-with-past \
      --weight-format fp16 "$peers/$name-openvino.partial"
    mv "$peers/$name-openvino.partial" "$peers/$name-openvino"
  fi
done
