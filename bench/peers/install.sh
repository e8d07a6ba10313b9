#!/usr/bin/env bash
# Installs what Baton is measured beside into a cache outside the tree: BATON_PEERS, else ~/.cache/baton-peers. Baton
# needs none of this to be built or tested.
#
#   bench/peers/install.sh [part …]      default: engines routers index
#
#   engines   OpenVINO GenAI, llama.cpp and transformers, and the model that all of them run: SHAPES, folders of
#             bench/serving/shapes (qwen2-0.5b); about 8 GB
#   routers   sglang-router, nginx and HAProxy
#   index     Dynamo's indexes of KV caches (Rust): some minutes
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
peers=${BATON_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/baton-peers}

main() {
  local parts=("$@") part
  ((${#parts[@]})) || parts=(engines routers index)
  for part in "${parts[@]}"; do
    if [[ $(type -t "install_$part") != function ]]; then
      echo "install.sh: unknown part '$part' (see the top of $0)" >&2
      exit 2
    fi
  done
  mkdir -p "$peers"
  for part in "${parts[@]}"; do "install_$part"; done
}

venv() { [[ -x $peers/venv/bin/python ]] || python3 -m venv "$peers/venv"; }

install_engines() {
  local shape
  venv
  "$peers/venv/bin/pip" install --quiet torch transformers 'optimum-intel[openvino]' openvino-genai numpy gguf
  # Built from source for this machine's instructions: some minutes.
  "$peers/venv/bin/python" -c 'import llama_cpp' 2>/dev/null ||
    CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAMA_BUILD_EXAMPLES=OFF" "$peers/venv/bin/pip" install --quiet --no-binary llama-cpp-python llama-cpp-python
  for shape in ${SHAPES:-qwen2-0.5b}; do install_model "$shape"; done
}

install_model() {
  local name=$1
  [[ -d $peers/$name ]] || "$peers/venv/bin/python" bench/peers/random_model.py "bench/serving/shapes/$name" models/baton-demo "$peers/$name"
  [[ -f $peers/$name.gguf ]] || "$peers/venv/bin/python" bench/peers/gguf_model.py "$peers/$name" "$peers/$name.gguf"
  [[ -d $peers/$name-openvino ]] && return
  "$peers/venv/bin/optimum-cli" export openvino --model "$peers/$name" --task text-generation-with-past \
    --weight-format fp16 "$peers/$name-openvino.partial"
  mv "$peers/$name-openvino.partial" "$peers/$name-openvino"
}

# Without touching the system: Debian's packages are unpacked, not installed.
install_routers() {
  local package
  venv
  "$peers/venv/bin/pip" install --quiet sglang-router
  [[ -x $peers/apt/usr/sbin/haproxy ]] && return
  mkdir -p "$peers/apt" "$peers/debs"
  (cd "$peers/debs" && apt-get download -qq nginx haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1)
  for package in "$peers"/debs/*.deb; do dpkg -x "$package" "$peers/apt"; done
}

# From a copy: Cargo writes down beside the sources what it has chosen.
install_index() {
  mkdir -p "$peers/dynamo_index"
  rm -rf "$peers/dynamo_index/source"
  cp -r bench/peers/dynamo_index "$peers/dynamo_index/source"
  CARGO_TARGET_DIR=$peers/dynamo_index cargo build --quiet --release --manifest-path "$peers/dynamo_index/source/Cargo.toml"
}

main "$@"
