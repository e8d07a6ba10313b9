"""What validate.sh predicted beside what it measured: a table, and every figure as JSON."""

import json
import pathlib
import re
import statistics
import sys


def quantile(values, q):
    return sorted(values)[round(q * (len(values) - 1))]


FIGURES = {"mean": statistics.fmean, "p50": lambda v: quantile(v, 0.5), "p90": lambda v: quantile(v, 0.9)}


def read_lines(path):
    requests = [json.loads(line) for line in path.read_text().splitlines()]
    wrong = [r for r in requests if r["error"]]
    if wrong:
        sys.exit(f"{path.name}: {len(wrong)} requests failed, the first: {wrong[0]['error']}")
    return requests


def compare(measured, predicted):
    figures = {}
    for what in ("ttft_ms", "e2e_ms"):
        # How late the client itself was is not the cluster's.
        pairs = [(m[what] - m["late_ms"], p[what]) for m, p in zip(measured, predicted, strict=True)]
        figures[what] = {
            name: {"measured": f([m for m, _ in pairs]), "predicted": f([p for _, p in pairs])}
            for name, f in FIGURES.items()
        }
        for of in figures[what].values():
            of["error_percent"] = 100 * (of["predicted"] / of["measured"] - 1)
        figures[what]["request_error_percent_p50"] = quantile([100 * abs(p / m - 1) for m, p in pairs], 0.5)
    return figures


def read_round(work, number):
    measured = read_lines(work / f"measured-{number}")
    before, after = ([float(x) for x in line.split()] for line in (work / f"cpu-{number}").read_text().splitlines())
    ours, everybody, all_time = (b - a for a, b in zip(before, after))
    workers = json.loads((work / f"page-{number}").read_text())["workers"]
    return compare(measured, read_lines(work / f"predicted-{number}")) | {
        "requests": len(measured),
        "remote_prefills": sum(m["remote_prefill"] for m in measured),
        "simulator": (work / f"flags-{number}").read_text().strip(),
        "fits": {w["id"]: w["load"]["fit"] for w in workers},
        "load_average_before": float((work / f"load-{number}").read_text()),
        "cpu_percent": {"ours": 100 * ours / all_time, "others": 100 * (everybody - ours) / all_time},
    }


def main(work, out, name, rounds, quiet, commit, command):
    work = pathlib.Path(work)
    runs = [read_round(work, number) for number in range(1, int(rounds) + 1)]
    # Without any quiet round all of them count, and the table says what they were worth.
    any_quiet = any(run["cpu_percent"]["others"] <= float(quiet) for run in runs)
    for run in runs:
        run["counted"] = run["cpu_percent"]["others"] <= float(quiet) or not any_quiet
    counted = [run for run in runs if run["counted"]]
    others = [run["cpu_percent"]["others"] for run in counted]
    print(f"{len(counted)} of {len(runs)} rounds count; others took {min(others):.0f} - {max(others):.0f} % of the CPU\n")
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())[1]
    path = pathlib.Path(out)
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept[name] = {"command": command, "commit": commit, "cpu": cpu, "rounds": runs}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    print("| model | | measured, ms | predicted, ms | error, % |\n| --- | --- | --- | --- | --- |")
    for what, title in (("ttft_ms", "TTFT"), ("e2e_ms", "whole request")):
        for figure in FIGURES:
            of = [run[what][figure] for run in counted]
            median = lambda key: statistics.median(o[key] for o in of)
            errors = [o["error_percent"] for o in of]
            print(f"| {name} | {title}, {figure} | {median('measured'):.1f} | {median('predicted'):.1f} "
                  f"| {statistics.median(errors):+.1f} ({min(errors):+.1f} - {max(errors):+.1f}) |")


main(*sys.argv[1:])
