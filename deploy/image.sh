#!/usr/bin/env bash
# Makes a container image of Baton from its bundle, with no container engine: an OCI image archive that
# `ctr images import`, `podman load`, `docker load` and `skopeo copy oci-archive:` take.
#
#   deploy/image.sh [--bundle FILE] [--build FOLDER] [--name NAME:TAG] [--out FILE]
#   deploy/image.sh [--bundle FILE] [--build FOLDER] --rootfs FOLDER
#
#   --bundle  an archive that deploy/bundle.sh made [makes one from --build]
#   --build   where the programs are built [build/release]
#   --name    what the image is called [baton:VERSION]
#   --out     the archive [build/baton-VERSION-image.tar]
#   --rootfs  only lays the image's files out in an empty folder, for a Dockerfile to copy
#
# In the image: the programs, the libraries they need, the demo model, a list of all of it (SPDX) and nothing else:
# no shell, no package manager. Programs run as user 65532. The same bundle makes the same bytes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
bundle=
build=build/release
arguments=()

main() {
  while (($#)); do
    case $1 in
      --bundle) bundle=${2:?--bundle needs a file}; shift 2 ;;
      --build) build=${2:?--build needs a folder}; shift 2 ;;
      --name | --out | --rootfs) arguments+=("$1" "${2:?$1 needs a value}"); shift 2 ;;
      -h | --help) sed -n '2,17s/^# \{0,1\}//p' "$0"; exit ;;
      *) echo "image.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
    esac
  done
  stage=$(mktemp -d)
  trap 'rm -rf "$stage"' EXIT
  if [[ -z $bundle ]]; then
    bundle=$stage/bundle.tar.xz
    deploy/bundle.sh --build "$build" --out "$bundle" >/dev/null
  fi
  mkdir "$stage/bundle"
  tar -C "$stage/bundle" --strip-components=1 -xf "$bundle"
  # Of the last commit: what was made from it has its time, whenever it is made.
  SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)} \
    python3 deploy/image/image.py --bundle "$stage/bundle" "${arguments[@]}"
}

main "$@"
