#!/usr/bin/env bash
# The chart in a real Kubernetes, brought up from an empty folder and taken down again, with no container engine.
#
#   tests/e2e/run.sh --quick     API server, scheduler and controllers on free ports of the loopback, and nodes that
#                                are nothing but what they say: five minutes beside other work on 2 cores. Skipped, and
#                                says so, where its programs are not in their cache.
#   tests/e2e/run.sh [--report FILE] [--image FILE] [--only PART]
#                                two real nodes, each kubelet and containerd in a network namespace of its own, and the
#                                project's image: minutes, as root. What was done and how long it took goes to --report.
#
#   --image   an archive of deploy/image.sh [makes one of build/release]
#   --only    of what is done with an installed release, this part: life, observe, keda [all of them]
#
# Programs come from tests/e2e/kube/tools.sh (once), Helm from tests/chart/tools.sh. A line "ok NAME: …",
# "FAILED NAME: …" or "skipped NAME: …" for each step. Whatever happens, nothing stays behind but a failed run's logs.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=$root/.deps/venv/bin/python
[[ -x $python ]] || python=python3
program=whole
sets=(quick nodes)
arguments=()

main() {
  while (($#)); do
    case $1 in
      --quick) program=quick sets=(quick) ;;
      --report | --image | --only) arguments+=("$1" "${2:?$1 needs a value}"); shift ;;
      -h | --help) sed -n '2,16s/^# \{0,1\}//p' "$0"; exit ;;
      *) echo "run.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
    esac
    shift
  done
  local missing path
  # Nothing is built here: ten minutes of it are no part of a test.
  path=$("$root/tests/e2e/kube/tools.sh" --path "${sets[@]}" 2>&1) || missing=$path
  local helm
  helm=$("$root/tests/chart/tools.sh" --path)/bin
  [[ -x $helm/helm ]] || missing="no Helm: tests/chart/tools.sh brings it"
  command -v openssl >/dev/null || missing="no openssl on the path"
  if [[ ${missing:-} ]]; then
    echo "skipped kubernetes: ${missing#tools.sh: }"
    [[ $program == quick ]]
    exit
  fi
  PATH=$path:$helm:$PATH PYTHONDONTWRITEBYTECODE=1 exec "$python" "$root/tests/e2e/kube/$program.py" "${arguments[@]}"
}

main "$@"
