#!/usr/bin/env bash
# clang-tidy (checks: .clang-tidy) over what the programs are made of; tests and benches are left out.
#
#   tidy.sh [FILE …]     default: every source that build/release compiles
#
# Files of one folder are read as one where that compiles (batches.py), else each by itself.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
build=build/release
export lint=build/lint

if [[ ! -f $build/compile_commands.json ]]; then
  echo "tidy.sh: $build is not configured: run 'make build' first (generated headers are needed too)" >&2
  exit 2
fi
rm -rf "$lint"
mkdir -p "$lint"
cp .clang-tidy "$lint"
# As $build is configured, but with every source by itself, and with $build's generated headers.
cmake --preset release -B "$lint/configured" --log-level=ERROR -DBATON_UNITY=OFF -DBATON_BUILD_TESTS=OFF \
  -DBATON_BUILD_BENCH=OFF > /dev/null || exit 2
sed -i "s|$PWD/$lint/configured|$PWD/$build|g" "$lint/configured/compile_commands.json"
python3 tools/lint/batches.py "$lint/configured" "$lint" "$@" > "$lint/batches" || exit 2
echo "clang-tidy: $(($(wc -w < "$lint/batches") - $(wc -l < "$lint/batches"))) files"

# The count of warnings in system headers is noise on stderr.
tidy() { clang-tidy-19 -p "$lint" --quiet "$1" 2>/dev/null; }

check_batch() {
  local source=$1 out status file
  shift
  out=$(tidy "$source")
  status=$?
  # Two files with the same name for something of their own cannot be read as one.
  if (($# > 1)) && grep -q 'clang-diagnostic-error' <<< "$out"; then
    status=0 out=
    for file; do out+=$(tidy "$file") || status=1; done
  fi
  printf '%s' "${out:+$out$'\n'}"
  return "$status"
}
export -f tidy check_batch
xargs -P "$(nproc)" -L 1 bash -c 'check_batch "$@"' check_batch < "$lint/batches"
