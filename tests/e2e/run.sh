#!/usr/bin/env bash
# The chart in a real Kubernetes, brought up from an empty folder and taken down again, with no container engine.
#
#   tests/e2e/run.sh --quick     API server, scheduler and controllers on free ports of the loopback, and nodes that
#                                are nothing but what they say: minutes. Skipped, and says so, where its programs are
#                                not in their cache.
#
# Programs come from tests/e2e/kube/tools.sh (once), Helm from tests/chart/tools.sh. A line "ok NAME: …",
# "FAILED NAME: …" or "skipped NAME: …" for each step. Whatever happens, nothing stays behind but a failed run's logs.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=$root/.deps/venv/bin/python
[[ -x $python ]] || python=python3

main() {
  case ${1:-} in
    --quick) ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit ;;
    *) echo "run.sh: needs --quick (see --help)" >&2; exit 2 ;;
  esac
  local missing path
  # Nothing is built here: ten minutes of it are no part of a test.
  path=$("$root/tests/e2e/kube/tools.sh" --path quick 2>&1) || missing=$path
  local helm
  helm=$("$root/tests/chart/tools.sh" --path)/bin
  [[ -x $helm/helm ]] || missing="no Helm: tests/chart/tools.sh brings it"
  command -v openssl >/dev/null || missing="no openssl on the path"
  if [[ ${missing:-} ]]; then
    echo "skipped kubernetes: ${missing#tools.sh: }"
    exit
  fi
  PATH=$path:$helm:$PATH PYTHONDONTWRITEBYTECODE=1 exec "$python" "$root/tests/e2e/kube/quick.py"
}

main "$@"
