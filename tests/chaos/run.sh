#!/usr/bin/env bash
# Breaks a running cluster again and again, under load: see README.md.
#
#   tests/chaos/run.sh [--minutes N] [--seed S] [--only WORDS] [--write] [--keep]
#
# BATON_BIN_DIR says where the programs are (build/release/bin). As root it also cuts networks and fills a disk.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=$root/.deps/venv/bin/python
[[ -x $python ]] || python=python3
generated=$root/build/python
"$python" "$root/sdk/python/generate.py" "$generated"
export BATON_SOURCE_DIR=$root BATON_BIN_DIR=${BATON_BIN_DIR:-$root/build/release/bin}
export PYTHONPATH=$root/sdk/python/src:$generated PYTHONDONTWRITEBYTECODE=1
# The clients run beside threads that start processes; gRPC's fork handlers would only warn of it.
export GRPC_ENABLE_FORK_SUPPORT=0
exec "$python" "$root/tests/chaos/chaos.py" "$@"
