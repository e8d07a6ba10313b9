#!/usr/bin/env bash
# clang-tidy (checks: .clang-tidy) over what the programs are made of; tests and benches are left out.
#
#   tidy.sh [FILE …]     default: every source that build/release compiles; about nine minutes on two cores
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
build=build/release

if [[ ! -f $build/compile_commands.json ]]; then
  echo "tidy.sh: $build is not configured: run 'make build' first (generated headers are needed too)" >&2
  exit 2
fi
if (($#)); then
  files=("$@")
else
  mapfile -t files < <(grep -o '"file": "[^"]*"' $build/compile_commands.json | cut -d'"' -f4 | sort -u |
    sed -n "s|^$PWD/||p" | grep -E '^(common|kernels|services|sdk)/.*\.cc$' |
    grep -v -E '_(test|bench|main_test)\.cc$|/testing/|/test_[a-z]+\.cc$')
fi
echo "clang-tidy: ${#files[@]} files"

# The count of warnings in system headers is noise on stderr.
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy-19 -p "$build" --quiet 2>/dev/null
