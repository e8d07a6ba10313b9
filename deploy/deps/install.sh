#!/usr/bin/env bash
# Installs what Baton needs on Debian 12: only what is missing, and says why each group is there.
#
#   install.sh [--demo]    what building and running the demo needs (the default)
#   install.sh --tests     that, and what `make test` needs
#   install.sh --cuda      the demo's, and a CUDA compiler and NCCL from wheels (no driver needed)
#   install.sh --check     installs nothing: prints the table; exit status 1 when something is missing
#
# Runs as root or through sudo. A second run only looks, in well under a second.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/deploy/deps
venv=$root/.deps/venv
rust_minimum=1.87
# In Debian 12's backports alone. Without it everything builds, and no traces can be exported.
tracing=opentelemetry-cpp-dev

# group | why | packages
demo_groups=(
  "build|compiler, CMake, cache, linker|build-essential cmake ninja-build pkg-config git ccache mold"
  "fetch|crates and wheels over https|ca-certificates curl"
  "python|the venv that holds the UCX wheel|python3 python3-venv"
  "rpc|gRPC between the processes|libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc"
  "http|HTTP, SSE, WebSocket, TLS|libboost1.81-dev libssl-dev"
  "transfer|KV hand-over (fallback for the wheel)|libucx-dev ucx-utils"
  "vocabulary|formatting, logs, config, flags, JSON|libfmt-dev libspdlog-dev libyaml-cpp-dev libcli11-dev nlohmann-json3-dev libsimdjson-dev"
  "hashing|block hashes and checksums|libxxhash-dev"
  "metrics|Prometheus endpoint|prometheus-cpp-dev"
  "tracing|traces to a collector|$tracing"
)
test_groups=(
  "tests|unit, property and micro-benchmarks|libgtest-dev libgmock-dev libbenchmark-dev librapidcheck-dev"
  "checks|fuzzing, lint, formatting, counting|clang-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev valgrind"
  "network|tests that look at sockets|iproute2"
)

main() {
  local set_name=demo check_only=false with_cuda=false argument
  for argument in "$@"; do
    case $argument in
      --demo) ;;
      --tests) set_name=tests ;;
      --cuda) with_cuda=true ;;
      --check) check_only=true ;;
      -h | --help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      *) echo "install.sh: unknown option '$argument' (see --help)" >&2; exit 2 ;;
    esac
  done

  missing_packages=() missing_wheels=()
  printf '%-11s %-41s %s\n' "group" "why" "state"
  look_for_packages "${demo_groups[@]}"
  look_for_rust
  look_for_wheels ucx-wheel "UCX with a fast put over TCP"
  if [[ $set_name == tests ]]; then
    look_for_packages "${test_groups[@]}"
    look_for_wheels python-tests "end-to-end tests, Python client"
  fi
  if $with_cuda; then look_for_cuda; fi

  if ((${#missing_packages[@]} + ${#missing_wheels[@]} == 0)); then
    echo "Everything is there."
    return
  fi
  if $check_only; then exit 1; fi
  install_packages
  install_wheels
  echo "Done."
}

row() { printf '%-11s %-41s %s\n' "$1" "$2" "$3"; }

# One dpkg-query for everything: asking package by package takes seconds.
is_installed() {
  if [[ -z ${installed_packages+set} ]]; then
    installed_packages=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' |
      sed -n 's/^installed //p' | tr '\n' ' ') "
  fi
  [[ $installed_packages == *" $1 "* ]]
}

look_for_packages() {
  local group name why packages package missing
  for group in "$@"; do
    IFS='|' read -r name why packages <<<"$group"
    missing=()
    for package in $packages; do
      is_installed "$package" || missing+=("$package")
    done
    missing_packages+=("${missing[@]}")
    row "$name" "$why" "$([[ ${#missing[@]} == 0 ]] && echo present || echo "missing: ${missing[*]}")"
  done
}

# rustup's or Debian's: whichever is new enough for the tokenizer crates.
look_for_rust() {
  local why="tokenizer, chat template (Rust >= $rust_minimum)" have=none
  PATH=$PATH:$HOME/.cargo/bin
  if command -v cargo >/dev/null; then
    have=$(cargo --version 2>/dev/null | awk '{print $2}')
  fi
  if [[ $have != none ]] && printf '%s\n' "$rust_minimum" "$have" | sort -V -C; then
    row text "$why" "present"
  else
    missing_packages+=(rustc-web cargo-web)
    row text "$why" "missing: rustc-web cargo-web (cargo found: $have)"
  fi
}

# A list of wheels is installed when its stamp in the venv equals the list.
look_for_wheels() {
  if cmp -s "$here/$1.txt" "$venv/.installed-$1"; then
    row "$1" "$2" "present"
  else
    missing_wheels+=("$1")
    row "$1" "$2" "missing: $(grep -v '^#' "$here/$1.txt" | tr '\n' ' ')"
  fi
}

# A toolkit of the system is as good as the wheels: CMake looks for it first.
look_for_cuda() {
  local system
  system=$(command -v nvcc || ls -d /usr/local/cuda/bin/nvcc 2>/dev/null || true)
  if [[ -n $system ]]; then
    row cuda "CUDA kernels" "present ($system)"
  else
    look_for_wheels cuda-wheels "CUDA kernels (compiler, no driver)"
  fi
  system=$(ls -d /usr/include/nccl.h /usr/local/cuda/include/nccl.h 2>/dev/null | head -1 || true)
  if [[ -n $system ]]; then
    row nccl "several GPUs" "present ($system)"
  else
    look_for_wheels nccl-wheel "several GPUs (NCCL)"
  fi
}

install_packages() {
  ((${#missing_packages[@]})) || return 0
  local as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || { echo "install.sh: needs root or sudo for: ${missing_packages[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  echo "Installing ${#missing_packages[@]} Debian packages: ${missing_packages[*]}"
  "${as_root[@]}" apt-get update -qq
  if [[ " ${missing_packages[*]} " == *" $tracing "* ]]; then look_into_backports; fi
  ((${#missing_packages[@]})) || return 0
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null
}

can_be_had() { [[ $(apt-cache policy "$1") == *'Candidate: '[0-9]* ]]; }

# From wherever this machine has its Debian from: its own entry once more, for another suite. Packages are then
# asked for by bare names, so that nothing else comes from there.
look_into_backports() {
  can_be_had "$tracing" && return
  local suite sources=/etc/apt/sources.list.d
  suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)-backports
  if [[ -f $sources/debian.sources ]]; then
    sed "/^$/q; /^#/d; s/^Suites:.*/Suites: $suite\nLanguages: none/" $sources/debian.sources |
      "${as_root[@]}" tee $sources/baton-backports.sources >/dev/null
  else
    sed -n "s/^\(deb \(\[[^]]*\] \)\?[^ ]*\) ${suite%-backports} .*/\1 $suite main/p" /etc/apt/sources.list | head -n 1 |
      "${as_root[@]}" tee $sources/baton-backports.list >/dev/null
  fi
  "${as_root[@]}" apt-get update -qq || true
  can_be_had "$tracing" && return
  echo "install.sh: $tracing is not to be had; Baton is built without traces" >&2
  local package others=()
  for package in "${missing_packages[@]}"; do [[ $package == "$tracing" ]] || others+=("$package"); done
  missing_packages=("${others[@]}")
}

install_wheels() {
  local list flags
  ((${#missing_wheels[@]})) || return 0
  [[ -x $venv/bin/pip ]] || make_venv
  for list in "${missing_wheels[@]}"; do
    echo "Installing $list into .deps/venv"
    # UCX's wheel names CUDA packages as dependencies, which only its CUDA transports need; the lists of
    # CUDA's wheels are complete as they stand.
    flags=()
    [[ $list == python-tests ]] || flags=(--no-deps)
    if "$venv/bin/pip" install -q --disable-pip-version-check "${flags[@]}" -r "$here/$list.txt"; then
      if [[ $list == cuda-wheels ]]; then "$here/cuda_layout.sh" "$venv"/lib/python3*/site-packages/nvidia/cu13; fi
      cp "$here/$list.txt" "$venv/.installed-$list"
    elif [[ $list == ucx-wheel ]]; then
      echo "install.sh: no UCX wheel to be had; Debian's UCX is used instead (shared memory only, one host)" >&2
    else
      echo "install.sh: pip could not install $list" >&2
      exit 1
    fi
  done
}

# Debian's own python3 first: its venv module is the one that python3-venv brings.
make_venv() {
  local python=/usr/bin/python3
  [[ -x $python ]] || python=python3
  mkdir -p "$root/.deps"
  "$python" -m venv "$venv"
}

main "$@"
