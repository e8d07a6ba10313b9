#!/usr/bin/env bash
# Builds Jaeger v2 from its Go module into ~/.cache/baton/tools (or $BATON_TOOLS): about five minutes of CPU and
# 3 GiB of disk, of which the binary (85 MB) stays. Prints its path; does nothing when it is there already.
#
#   tools/observe/build_jaeger.sh [--path]     --path: only prints where it is, or would be
set -euo pipefail

# v1.76.0 was tagged together with v2.13.0 and holds its main package; there is no module of that version.
module=github.com/jaegertracing/jaeger
version=v1.76.0
says=v2.13.0
tools=${BATON_TOOLS:-$HOME/.cache/baton/tools}
binary=$tools/jaeger-$says

main() {
  case ${1:-} in
    --path) echo "$binary"; exit ;;
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit ;;
    "") ;;
    *) echo "build_jaeger.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
  if [[ ! -x $binary ]]; then
    command -v go >/dev/null || { echo "build_jaeger.sh: needs Go 1.25 or newer" >&2; exit 1; }
    build
  fi
  echo "$binary"
}

build() {
  mkdir -p "$tools"
  work=$(mktemp -d "$tools/jaeger.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  export GOMODCACHE=$work/modules GOCACHE=$work/cache GOTOOLCHAIN=local GOFLAGS="-buildvcs=false -modcacherw" CGO_ENABLED=0
  mkdir "$work/wrapper"
  cd "$work/wrapper"
  wrap
  go build -mod=mod -trimpath -ldflags "-s -w -X $module/internal/version.latestVersion=$says" -o "$work/jaeger" "$module/cmd/jaeger"
  mv "$work/jaeger" "$binary"
}

# `go install MODULE@VERSION` refuses modules with replacements: a module of our own, with Jaeger's requirements and
# sums, requires it.
wrap() {
  local facts folder
  facts=$(go mod download -json "$module@$version")
  fact() { sed -n "s/.*\"$1\": \"\(.*\)\",*/\1/p" <<<"$facts"; }
  folder=$(fact Dir)
  { sed 's#^module .*#module baton/jaeger#' "$folder/go.mod"; printf '\nrequire %s %s\n' "$module" "$version"; } >go.mod
  { cat "$folder/go.sum"
    printf '%s %s %s\n%s %s/go.mod %s\n' "$module" "$version" "$(fact Sum)" "$module" "$version" "$(fact GoModSum)"; } >go.sum
  printf '//go:build tools\n\npackage tools\n\nimport _ "%s/cmd/jaeger"\n' "$module" >tools.go
}

main "$@"
