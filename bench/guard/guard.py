"""Counts the instructions of Baton's hot paths, and compares them with those that are committed.

    bench/guard/guard.py [--program build/release/bin/guard] [--only TEXT] [--write]

Times move by ten percent on a shared machine, counts of instructions hardly at all: one that has grown by more
than TOLERANCE is a slower program, or a reason to say why (--write, and the reason in the commit). Counted by
callgrind, each path in a process of its own. Prints a line per path: ok, FAILED or skipped. Exit status 1 when one failed.

Counts of another compiler cannot be compared; neither can anything where there is no valgrind. Then all are skipped.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASELINE = pathlib.Path(__file__).with_name("baseline.json")
TOLERANCE = 0.03


def instructions(program, path):
    """Of all of its rounds; raises with valgrind's words when it failed."""
    with tempfile.TemporaryDirectory() as folder:
        # Hashes of pointers, and so the way through a table, differ with each address layout.
        command = ["setarch", "-R", "valgrind", "--tool=callgrind", "--collect-atstart=no",
                   "--toggle-collect=BatonGuardedPath", f"--callgrind-out-file={folder}/out",
                   program, path, str(ROOT / "models/baton-demo")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=dict(os.environ, LC_ALL="C"))
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found or found[1] == "0":
        raise RuntimeError(f"{path}: nothing was counted\n{done.stderr[-2000:]}")
    return int(found[1])


def verdict(path, now, baseline):
    before = baseline.get(path)
    if before is None:
        return False, f"FAILED   {path}: {now:,}, and the baseline has no such path; guard.py --write"
    change = now / before - 1
    line = f"{path}: {now:,}, {change:+.1%} against {before:,}"
    if change > TOLERANCE:
        return False, f"FAILED   {line}"
    if change < -TOLERANCE:
        return False, f"FAILED   {line}: better, so let the baseline know; guard.py --write"
    return True, f"ok       {line}"


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/release/bin/guard"), help="what bench/guard is built to")
    parser.add_argument("--only", default="", help="paths whose name has this text")
    parser.add_argument("--write", action="store_true", help="make what is counted the baseline")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        print("skipped  instructions: no valgrind here, nothing is counted")
        return 0
    compiler = output_of(options.program, "--compiler")
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"compiler": compiler, "instructions": {}}
    if known["compiler"] != compiler and not options.write:
        print(f"skipped  instructions: the baseline is of {known['compiler']}, this program of {compiler}")
        return 0
    paths = [path for path in output_of(options.program, "--list").splitlines() if options.only in path]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = dict(zip(paths, pool.map(lambda path: instructions(options.program, path), paths)))
    if options.write:
        kept = known["instructions"] if options.only else {}
        BASELINE.write_text(json.dumps({"compiler": compiler, "instructions": {**kept, **counts}}, indent=1) + "\n")
    baseline = json.loads(BASELINE.read_text())["instructions"] if BASELINE.exists() else {}
    verdicts = [verdict(path, count, baseline) for path, count in counts.items()]
    for path in set(baseline) - set(paths) if not options.only else ():
        verdicts.append((False, f"FAILED   {path}: in the baseline, but the program has no such path"))
    print("\n".join(line for _, line in verdicts))
    return 0 if all(good for good, _ in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
