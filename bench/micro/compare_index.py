"""The router's KV index beside Dynamo's, in turn on the same work. See bench/run.sh.

Only ratios mean something: times are of the thread's CPU, but the memory they wait for is shared with whoever else is on
the machine.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

FIGURES = {  # as the programs name them -> as the table does
    "lookups_M_per_s_median": "look-ups, M/s",
    "stored_from_empty_M_blocks_per_s": "blocks stored from empty, M/s",
    "dropped_M_blocks_per_s": "blocks dropped, M/s",
    "stored_again_M_blocks_per_s": "blocks stored again, M/s",
    "workers_found_per_lookup": "workers found per look-up",
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, required=True, help="kv_index_bench")
    parser.add_argument("--peers", type=Path, required=True, help="what bench/peers/install.sh has filled")
    parser.add_argument("--rounds", type=int, default=5, help="how often each program has its turn")
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON")
    return parser.parse_args()


def take_turn(command, figures):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    for line in done.stdout.splitlines():
        if '"index"' not in line:
            continue
        told = json.loads(line.strip().rstrip(","))
        for figure in FIGURES.keys() & told.keys():
            figures.setdefault(told["index"], {}).setdefault(figure, []).append(told[figure])


def spread(values):
    if not values:
        return "-"
    return f"{statistics.median(values):.3g} ({min(values):.3g} - {max(values):.3g})"


def table(figures):
    others = [name for name in figures if name.startswith("dynamo")]
    yield f"| | baton | {' | '.join(others)} | baton / best other |"
    yield "| --- " * (len(others) + 3) + "|"
    for figure, words in FIGURES.items():
        own = figures["baton"].get(figure, [])
        best = max((statistics.median(figures[name][figure]) for name in others if figure in figures[name]), default=None)
        ratio = f"{statistics.median(own) / best:.2f}" if own and best else "-"
        yield f"| {words} | {spread(own)} | {' | '.join(spread(figures[name].get(figure)) for name in others)} | {ratio} |"


def main():
    options = arguments()
    programs = [[options.bench, "--quick", "--only", "shared"]]
    dynamo = options.peers / "dynamo_index/release/dynamo_index"
    if dynamo.exists():
        programs.append([dynamo])
    else:
        print("Dynamo's indexes: skipped, not installed (bench/peers/install.sh index)")
    figures = {}
    for turn in range(options.rounds):
        for program in programs:
            print(f"round {turn + 1} of {options.rounds}: {program[0].name}", file=sys.stderr, flush=True)
            take_turn(program, figures)
    print(f"\nmedian (least - most) of {options.rounds} turns\n")
    print("\n".join(table(figures)))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    busy = " ".join(f"{load:.1f}" for load in os.getloadavg())
    (options.out / "kv_index_peers.json").write_text(json.dumps({
        "commit": commit, "command": f"ROUNDS={options.rounds} bench/run.sh index",
        "machine": f"{os.cpu_count()} cores (shared), {platform.machine()}; load average {busy}", "figures": figures},
        indent=1) + "\n")


main()
