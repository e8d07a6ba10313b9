#!/usr/bin/env bash
# Brings the programs of a Kubernetes cluster, once, for tests/e2e/run.sh: built from their Go modules, or taken
# out of Debian's packages, which are not installed. They are kept below $BATON_TOOLS, else ~/.cache/baton.
#
#   tests/e2e/kube/tools.sh [--path] [SET …]     default: quick
#     quick     API server, controllers, scheduler, kubectl, etcd, kwok (fake nodes), and the types of others that
#               the chart makes objects of (KEDA, Prometheus operator, Gateway API, cert-manager): 10 minutes of two cores
#     nodes     kubelet, kube-proxy, CoreDNS, containerd, runc and the CNI's plugins: 5 minutes more
#     keda      KEDA's operator and its metrics server: 7 minutes more
#     --path    builds nothing: prints the folders that belong on the PATH, with colons between; exit status 1, and
#               a line that names what is missing, when something is
#
# Needs go, and apt-get for Debian's packages. What is built needs 10 GB of space for that time and 0.9 GB for good.
set -uo pipefail

kubernetes=1.36.3
kwok=0.8.0
coredns=1.15.0
keda=2.21.0
prometheus_operator=0.85.0
gateway=1.4.0
cert_manager=1.19.0

cache=${BATON_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/baton}/kube
declare -A folder=(
  [quick]=$cache/kubernetes-$kubernetes-kwok-$kwok-types-$keda-$prometheus_operator-$gateway-$cert_manager
  [nodes]=$cache/nodes-$kubernetes-coredns-$coredns
  [keda]=$cache/keda-$keda)
declare -A programs=(
  [quick]="kube-apiserver kube-controller-manager kube-scheduler kubectl kwok kwok-stages.yaml types etcd"
  [nodes]="kubelet kube-proxy coredns containerd containerd-shim-runc-v2 ctr runc cni"
  [keda]="keda keda-adapter keda-config")

main() {
  local only_path= sets=() set missing=()
  while (($#)); do
    case $1 in
      --path) only_path=1 ;;
      -h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit ;;
      quick | nodes | keda) sets+=("$1") ;;
      *) echo "tools.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
    esac
    shift
  done
  ((${#sets[@]})) || sets=(quick)
  [[ $only_path ]] || bring "${sets[@]}"
  for set in "${sets[@]}"; do missing+=($(lacking "$set")); done
  if ((${#missing[@]})); then
    echo "tools.sh: missing ${missing[*]}; tests/e2e/kube/tools.sh ${sets[*]} brings them" >&2
    exit 1
  fi
  for set in "${sets[@]}"; do printf '%s:' "${folder[$set]}"; done | sed 's/:$/\n/'
}

lacking() {
  local name
  for name in ${programs[$1]}; do [[ -e ${folder[$1]}/$name ]] || echo "$name"; done
}

# Caches of the compiler stay until all that was asked for is there: what was interrupted goes on from there.
bring() {
  local set name
  mkdir -p "$cache/build"
  exec 9>"$cache/lock" && flock 9
  export GOTOOLCHAIN=local GOFLAGS='-modcacherw -buildvcs=false' CGO_ENABLED=0 GOPATH=$cache/build/go GOCACHE=$cache/build/objects
  for set; do
    mkdir -p "${folder[$set]}"
    for name in $(lacking "$set"); do
      "get_$(tr - _ <<<"${name%.*}")" "${folder[$set]}/$name" 2>"$cache/build/$name.log" && continue
      echo "tools.sh: $name could not be had, see $cache/build/$name.log: $(tail -n 1 "$cache/build/$name.log")" >&2
      return 1
    done
  done
  rm -rf "$cache/build"
}

# build FILE MODULE@VERSION PACKAGE [LINKER FLAGS]
# A module that replaces others cannot be installed by name. So another one is made that has its requirements and
# its replacements, with those that are folders of its repository (Kubernetes') taken from where they are published.
build() {
  local file=$1 module=${2%@*} version=${2#*@} package=$3 flags="-s -w ${4:-}"
  local at=$cache/build/$(tr / _ <<<"$2") about
  mkdir -p "$at" && cd "$at" || return 1
  about=$(go mod download -json "$module@$version") || return 1
  field() { sed -n "s/^\t\"$1\": \"\(.*\)\",\{0,1\}$/\1/p" <<<"$about"; }
  if [[ ! -s go.mod ]]; then
    {
      sed "s|^module .*|module baton.test/tools|; s|=> \./staging/src/\(k8s\.io/.*\)|=> \1 v0.${version#v1.}|" "$(field GoMod)"
      printf '\nrequire %s %s\n' "$module" "$version"
    } >go.mod.part
    {
      cat "$(field Dir)/go.sum"
      printf '%s %s %s\n' "$module" "$version" "$(field Sum)" "$module" "$version/go.mod" "$(field GoModSum)"
    } >go.sum
    mv go.mod.part go.mod
  fi
  go build -mod=mod -trimpath -ldflags "$flags" -o "$file.part" "$package" && mv "$file.part" "$file"
}

# What `kubectl version` and the nodes say; without it they say v0.0.0, which Helm compares with.
kubernetes_flags() {
  local package
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf -- '-X %s ' "$package.gitVersion=v$kubernetes" "$package.gitMajor=1" "$package.gitMinor=$(cut -d. -f2 <<<"$kubernetes")"
  done
}
get_kubernetes() { build "$1" "k8s.io/kubernetes@v$kubernetes" "k8s.io/kubernetes/cmd/${1##*/}" "$(kubernetes_flags)"; }
get_kube_apiserver() { get_kubernetes "$1"; }
get_kube_controller_manager() { get_kubernetes "$1"; }
get_kube_scheduler() { get_kubernetes "$1"; }
get_kubectl() { get_kubernetes "$1"; }
get_kubelet() { get_kubernetes "$1"; }
get_kube_proxy() { get_kubernetes "$1"; }

get_kwok() { build "$1" "sigs.k8s.io/kwok@v$kwok" sigs.k8s.io/kwok/cmd/kwok; }
# How kwok's nodes and pods come to life: it has none by itself.
get_kwok_stages() {
  local at stage
  at=$(folder_of "sigs.k8s.io/kwok@v$kwok") && cd "$at/kustomize/stage" || return 1
  for stage in node/fast/node-initialize node/heartbeat-with-lease/node-heartbeat-with-lease pod/fast/pod-{ready,complete,delete}; do
    echo --- && cat "$stage.yaml" || return 1
  done >"$1.part" && mv "$1.part" "$1"
}

get_coredns() { build "$1" "github.com/coredns/coredns@v$coredns" github.com/coredns/coredns; }

# Where a module's files are.
folder_of() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' | grep .; }

keda_module=github.com/kedacore/keda/v2@v$keda
get_keda() { build "$1" "$keda_module" github.com/kedacore/keda/v2/cmd/operator; }
get_keda_adapter() { build "$1" "$keda_module" github.com/kedacore/keda/v2/cmd/adapter; }
# What KEDA is installed with: its types, rights and Deployments, for `kubectl kustomize`.
get_keda_config() {
  local at
  at=$(folder_of "$keda_module") && rm -rf "$1.part" &&
    cp -r "$at/config" "$1.part" && chmod -R u+w "$1.part" && mv "$1.part" "$1"
}

# CustomResourceDefinitions, as their owners publish them.
get_types() {
  local operator
  rm -rf "$1.part" && mkdir "$1.part" &&
    cp "$(folder_of "$keda_module")"/config/crd/bases/*.yaml "$1.part" &&
    operator=$(folder_of "github.com/prometheus-operator/prometheus-operator@v$prometheus_operator")/example/prometheus-operator-crd &&
    cp "$operator"/monitoring.coreos.com_{podmonitors,prometheusrules}.yaml "$1.part" &&
    cp "$(folder_of "sigs.k8s.io/gateway-api@v$gateway")"/config/crd/standard/gateway*.yaml "$1.part" &&
    cp "$(folder_of "github.com/cert-manager/cert-manager@v$cert_manager")"/deploy/crds/*.yaml "$1.part" &&
    chmod u+w "$1.part"/* && mv "$1.part" "$1"
}

# from_package FILE PACKAGE PATH: a file or a folder of a Debian package.
from_package() {
  local at=$cache/build/package-$2
  if [[ ! -e $at/$3 ]]; then
    rm -rf "$at" && mkdir -p "$at" && cd "$at" && apt-get download -qq "$2" >&2 && dpkg-deb -x "$2"_*.deb . || return 1
  fi
  cp -r "$at/$3" "$1.part" && mv "$1.part" "$1"
}
get_etcd() { from_package "$1" etcd-server usr/bin/etcd; }
get_containerd() { from_package "$1" containerd usr/bin/containerd; }
get_containerd_shim_runc_v2() { from_package "$1" containerd usr/bin/containerd-shim-runc-v2; }
get_ctr() { from_package "$1" containerd usr/bin/ctr; }
get_runc() { from_package "$1" runc usr/sbin/runc; }
get_cni() { from_package "$1" containernetworking-plugins usr/lib/cni; }

main "$@"
