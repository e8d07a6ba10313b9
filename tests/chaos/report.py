"""What a run has shown: a summary for the terminal, a table for the docs, figures for bench/baselines."""
import json
import os
import pathlib
import statistics
import subprocess

from faults import BROKEN, FAULTS, NOTHING, REFUSED

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PAGE = SOURCE / "docs/operations/faults.md"
FIGURES = SOURCE / "bench/baselines/faults.json"
PROBLEMS_SHOWN = 20
BEGIN, END = "<!-- table: written by tests/chaos/run.sh --write -->", "<!-- end of the table -->"


def rows(chaos):
    """One per fault that was played, in the order of the catalogue."""
    played = {}
    for round_ in chaos.rounds:
        played.setdefault(round_.fault.name, []).append(round_)
    return [row_of(fault, played[fault.name]) for fault in FAULTS if fault.name in played]


def row_of(fault, rounds):
    pauses = [pause for r in rounds for pause in r.pauses]
    outcomes = {}
    for r in rounds:
        for outcome, count in r.outcomes().items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
    free = [r.free_after for r in rounds if r.free_after is not None]
    return {
        "fault": fault.name, "times": len(rounds), "hit": sum(outcomes.values()),
        "completed_exactly": outcomes.get("exact", 0), "told_an_error": outcomes.get("refused", 0)
        + outcomes.get("broken", 0), "wrong": outcomes.get("wrong", 0) + outcomes.get("error", 0),
        "pause_median_s": rounded(statistics.median(pauses) if pauses else None),
        "pause_worst_s": rounded(max(pauses, default=None)),
        "back_worst_s": rounded(max(r.back_after for r in rounds)),
        "quarantined": f"{len(free)} of {len(rounds)}", "blocks_free_worst_s": rounded(max(free, default=None)),
        "clients_may_see": fault.clients_may_see, "expects": fault.expects,
    }


def rounded(seconds):
    return None if seconds is None else round(seconds, 2)


def print_summary(chaos):
    outcomes = {}
    for record in chaos.load.records:
        outcomes[record.outcome] = outcomes.get(record.outcome, 0) + 1
    print(f"{len(chaos.rounds)} faults in {chaos.seconds:.0f} s (seed {chaos.options.seed}), "
          f"{len(chaos.load.records)} requests: {', '.join(f'{n} {o}' for o, n in sorted(outcomes.items()))}")
    for need, why in chaos.scene.missing.items():
        print(f"skipped, for want of {need}: {why}")
    for problem in chaos.problems[:PROBLEMS_SHOWN]:
        print(f"PROBLEM {problem}")
    if len(chaos.problems) > PROBLEMS_SHOWN:
        print(f"… and {len(chaos.problems) - PROBLEMS_SHOWN} more")


def figures(chaos):
    outcomes = {}
    for record in chaos.load.records:
        outcomes[record.outcome] = outcomes.get(record.outcome, 0) + 1
    return {
        "command": f"tests/chaos/run.sh --minutes {chaos.options.minutes:g} --seed {chaos.options.seed} --write",
        "commit": git("rev-parse", "--short", "HEAD"), "machine": machine(), "model": "baton-demo",
        "cluster": "2 routers, 2 prefill workers, 2 decode workers (one over shared memory, one over TCP)",
        "clients": chaos.load.clients, "seconds": round(chaos.seconds),
        "load_average": round(os.getloadavg()[1], 1), "requests": outcomes,
        "skipped": chaos.scene.missing, "problems": chaos.problems, "faults": rows(chaos),
    }


def git(*words):
    return subprocess.run(["git", "-C", str(SOURCE), *words], capture_output=True, text=True).stdout.strip()


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return f"{os.cpu_count()} cores, {model}"


def write(chaos):
    data = figures(chaos)
    FIGURES.write_text(json.dumps(data, indent=1) + "\n")
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + table(data) + END + rest.split(END)[1])


def table(data):
    requests = ", ".join(f"{count} {outcome}" for outcome, count in sorted(data["requests"].items()))
    lines = [
        f"`{data['command']}` at {data['commit']} on {data['machine']}; {data['cluster']}, {data['clients']} clients "
        f"that always have a request under way; load average {data['load_average']:g}. {sum(data['requests'].values())} requests in {data['seconds']} s: "
        f"{requests}.", "",
        "| fault | times | requests hit | completed exactly | told an error | pause, median / worst "
        "| all back after | blocks reusable after | what to expect |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in data["faults"]:
        lines.append(
            f"| {row['fault']} | {row['times']} | {row['hit']} | {row['completed_exactly']} | {row['told_an_error']} "
            f"| {seconds(row['pause_median_s'])} / {seconds(row['pause_worst_s'])} | {seconds(row['back_worst_s'])} "
            f"| {seconds(row['blocks_free_worst_s'])} | {row['expects']}{told(row)} |")
    for need, why in data["skipped"].items():
        lines.append(f"\nNot played here, for want of {need}: {why}.")
    return "\n".join(lines) + "\n"


def told(row):
    return {NOTHING: "", REFUSED: " (may be refused before it has begun)",
            BROKEN: " (its clients may lose their connection)"}[row["clients_may_see"]]


def seconds(value):
    return "-" if value is None else f"{value:.2f} s"
