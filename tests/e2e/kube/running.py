"""Runs steps in a folder of their own, and leaves nothing behind, however they end."""
import contextlib
import pathlib
import shutil
import signal
import sys
import tempfile

from steps import Steps, Stop


def run_steps(main):
    """(exit status, steps). `main` takes an empty place to work in, the steps, and what is to be undone in the end."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    steps = Steps()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="baton-kube-"))
    try:
        with contextlib.ExitStack() as ending, contextlib.suppress(Stop):
            main(folder / "run", steps, ending)
    finally:
        keep_logs(folder, steps)
    return (1 if steps.failed or not steps.done else 0), steps


def keep_logs(folder, steps):
    """Of a run that failed, and no more of it: an image takes space."""
    logs = folder / "run/logs" if (folder / "run/logs").exists() else folder / "run/cluster/logs"
    if steps.failed and logs.exists():
        kept = pathlib.Path(tempfile.mkdtemp(prefix="baton-kube-logs-"))
        shutil.copytree(logs, kept, dirs_exist_ok=True)
        print(f"logs of the cluster: {kept}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
