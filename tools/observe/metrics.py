#!/usr/bin/env python3
"""The table of every metric, docs/operations/metrics.md, from what the programs themselves export.

  tools/observe/metrics.py [--bin build/release/bin] [--out docs/operations/metrics.md]

Starts a small cluster of the demo model and a planner, reads their /metrics and writes the page. Nothing is asked of the
cluster: a metric that appears only after some event would be missing, and tests/e2e/test_metrics.py would say so.
"""
import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PAGE = SOURCE / "docs/operations/metrics.md"

# What a cluster must be told so that it exports all that it can.
CLUSTER_FLAGS = ("--set", "prefill.metrics=127.0.0.1:0", "--set", "decode.metrics=127.0.0.1:0",
                 "--trace-endpoint", "grpc://127.0.0.1:9")
# Labels whose values are a deployment's own.
OPEN = {"model", "tenant", "route", "status", "le", "quantile"}
UNITS = set("""bytes seconds ratio tokens requests sequences blocks workers replicas routers steps connections decisions
    transfers preemptions ejections mismatches responses spans changes scrapes""".split())

PROCESSES = {
    "Router": "`baton-router`, `/metrics` on its `http` address.",
    "Workers": "`baton-prefill-worker` and `baton-decode-worker`, `/metrics` on the address of their option `metrics`. Each is the\n"
               "worker's own figure: a hand-over is counted by the one that sends and by the one that receives.",
    "Planner": "`baton-planner`, `/metrics` on its `http` address; what they are for is in [scaling](scaling.md).",
}
INTRODUCTION = """# Metrics
<!-- Written by tools/observe/metrics.py from what the programs export; tests/e2e/test_metrics.py compares. -->

Every metric of every process, in Prometheus' text format. Counters and histograms of things that have not happened yet
are there with the value 0, unless said otherwise, so that the first failure is a rise that `rate()` sees. The unit of a
histogram or counter is that of its sum. Labels with few values have them named; `model` and `tenant` have those that a
deployment serves (clients cannot add any), `route` is one of the paths of the [HTTP API](../http_api.md) or `other`, and
`status` an HTTP status, each from its first answer on. Prometheus adds `instance` and `job`, a PodMonitor `namespace` and
`pod`. [Dashboards](../../deploy/observability/README.md) ask for these.
"""


class Family:
    def __init__(self, kind, text):
        self.kind, self.help = kind, text
        self.labels = collections.defaultdict(set)  # name -> values


def parse(page):
    """name -> Family of a page in the text format."""
    families, helps = {}, {}
    for line in page.splitlines():
        if found := re.match(r"# (HELP|TYPE) (\S+) ?(.*)", line):
            what, name, text = found.groups()
            if what == "HELP":
                helps[name] = text
            else:
                families[name] = Family(text, helps.get(name, ""))
        elif line:
            name, labels = re.match(r"([^{ ]+)(?:\{(.*)\})? ", line).groups()
            family = families[name if name in families else re.sub(r"_(bucket|sum|count)$", "", name)]
            for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""):
                family.labels[label].add(value)
    return families


def merge(pages):
    merged = {}
    for families in map(parse, pages):
        for name, family in families.items():
            for label, values in family.labels.items():
                merged.setdefault(name, Family(family.kind, family.help)).labels[label] |= values
            merged.setdefault(name, family)
    return merged


def unit_of(name):
    words = name.split("_")
    if "turned" in words:
        return "requests"
    if "per" in words:
        at = words.index("per")
        return f"{words[at - 1]}/{words[at + 1]}"
    return next((word for word in reversed(words) if word in UNITS), "")


def labels_of(family):
    shown = {label: values for label, values in family.labels.items() if label not in ("le", "quantile")}
    return "; ".join(f"`{label}`" if label in OPEN else f"`{label}`: {', '.join(sorted(values))}"
                     for label, values in sorted(shown.items()))


def render(pages):
    """The page in Markdown; `pages`: process -> texts of its /metrics."""
    lines = [INTRODUCTION]
    for process, text in PROCESSES.items():
        lines += [f"## {process}", text, "", "| metric | type | unit | labels | meaning |", "| --- | --- | --- | --- | --- |"]
        lines += [f"| `{name}` | {family.kind} | {unit_of(name)} | {labels_of(family)} | {family.help} |"
                  for name, family in sorted(merge(pages[process]).items())]
        lines.append("")
    return "\n".join(lines)


def known(page=None):
    """name -> (type, label -> its values, none where they are open) of every process together, from the page."""
    found = {}
    for line in (page or PAGE.read_text()).splitlines():
        if not line.startswith("| `"):
            continue
        name, kind, _, labels, _ = (cell.strip() for cell in line.strip("|").split("|"))
        values = {label: set(filter(None, words.split(", "))) for label, words in re.findall(r"`(\w+)`(?:: ([^;]*))?", labels)}
        found[name.strip("`")] = (kind, found.get(name.strip("`"), ("", {}))[1] | values)
    return found


def get(url):
    with urllib.request.urlopen(url, timeout=5) as reply:
        return reply.read().decode()


def read_cluster(router, planner):
    """process -> texts, once every worker is there; `router` and `planner` are addresses with a scheme."""
    workers = json.loads(get(f"{router}/debug/cluster"))["workers"]
    return {"Router": [get(f"{router}/metrics")], "Planner": [get(f"{planner}/metrics")],
            "Workers": [get(f"http://{worker['metrics_address']}/metrics") for worker in workers]}


def wait_for(condition, what, patience=60):
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"metrics.py: not within {patience} s: {what}")
        time.sleep(0.05)
    return value


def read_own_cluster(programs):
    with tempfile.TemporaryDirectory() as folder:
        log, ports = pathlib.Path(folder) / "log", pathlib.Path(folder) / "planner.json"
        with open(log, "w") as out:
            up = subprocess.Popen(
                [programs / "baton", "up", "--model", SOURCE / "models/baton-demo", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
                 "--runtime-dir", f"{folder}/run", *CLUSTER_FLAGS], stdout=out, stderr=out)
        planner = None
        try:
            router = wait_for(lambda: re.search(r"OpenAI API +(http://[^/]+)", log.read_text()) or up.poll() is not None, "a cluster")
            if router is True:
                raise SystemExit(f"metrics.py: baton up ended:\n{log.read_text()}")
            planner = subprocess.Popen(
                [programs / "baton-planner", "--router", router[1].removeprefix("http://"), "--grpc", "127.0.0.1:0", "--http",
                 "127.0.0.1:0", "--ports-file", ports], stderr=subprocess.DEVNULL)
            wait_for(ports.exists, "a planner")
            wait_for(lambda: 'role="decode",state="ready"} 1' in get(f"{router[1]}/metrics"), "workers that are ready")
            return read_cluster(router[1], f"http://{json.loads(ports.read_text())['http']}")
        finally:
            for process in filter(None, (planner, up)):
                process.terminate()
                process.wait(60)


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--bin", type=pathlib.Path, default=SOURCE / "build/release/bin")
    words.add_argument("--out", type=pathlib.Path, default=PAGE)
    options = words.parse_args()
    options.out.write_text(render(read_own_cluster(options.bin)))
    print(f"wrote {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
