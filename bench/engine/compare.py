"""Runs engines in turn on one model and tells, figure by figure, who is how fast. See bench/run.sh."""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True, help="what bench/peers/install.sh has filled")
    parser.add_argument("--bench", type=Path, required=True, help="engine_bench")
    parser.add_argument("--shape", type=Path, required=True, help="folder with the model's config.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="how often each engine has its turn")
    parser.add_argument("--prefill", default="512,2048", help="prompt lengths")
    parser.add_argument("--decode", default="1,4,8,16", help="batch sizes")
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON")
    return parser.parse_args()


class Engine:
    def __init__(self, name, command, needs=None):
        self.name, self.command = name, command
        self.missing = needs is not None and not needs.exists()
        self.rates = {}  # (what, size) -> tokens per second, one per round

    def take_turn(self):
        done = subprocess.run(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{self.name} failed ({' '.join(map(str, self.command))}):\n{done.stderr[-2000:]}")
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for line in lines:
            if "tokens_per_second" in line:
                self.rates.setdefault((line["what"], line["size"]), []).append(line["tokens_per_second"])
        return [line for line in lines if "tokens_per_second" not in line]


def version(python, package):
    code = f"import importlib.metadata as m; print(m.version('{package}'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() or "?"


def engines(options, vocab):
    name, python = options.shape.name, options.peers / "venv/bin/python"
    model = options.peers / name
    load = ["--threads", str(options.threads), "--prefill", options.prefill, "--decode", options.decode]
    baton = [options.bench, "--roofline", *load, "--model"]
    baton += [model] if model.exists() else [options.shape, "--load-format", "random", "--dtype", "bf16"]
    peer = [*load, "--vocab", str(vocab), "--model"]
    found = [Engine("Baton", baton)]
    for package, script, folder in (("openvino-genai", "openvino_genai_engine.py", options.peers / f"{name}-openvino"),
                                    ("llama-cpp-python", "llama_cpp_engine.py", options.peers / f"{name}.gguf"),
                                    ("transformers", "transformers_engine.py", model)):
        label = f"{package} {version(python, package)}" if folder.exists() else package
        found.append(Engine(label, [python, HERE.parent / "peers" / script, *peer, folder], needs=folder))
    return found


def floors(config, roofline):
    """(what, size) -> tokens per second that this machine can do at most."""
    head = config["vocab_size"] * config["hidden_size"]  # once: prompts need it for their last token alone
    body = roofline["parameters"] - (1 if config.get("tie_word_embeddings") else 2) * head

    def floor(what, size):
        if what == "prefill":
            return roofline["bf16_flops"] / (2 * body)
        seconds = max(2 * (body + head) / roofline["read_bytes"], 2 * size * (body + head) / roofline["bf16_flops"])
        return size / seconds

    return floor


def spread(values):
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} - {max(values):,.0f})"


def table(present, floor):
    best_of = lambda key: max((statistics.median(e.rates[key]) for e in present[1:] if key in e.rates), default=None)
    yield f"| tokens/s | {' | '.join(e.name for e in present)} | Baton / best other | floor | of the floor |"
    yield "| --- " * (len(present) + 4) + "|"
    for key in present[0].rates:
        own, best, most = statistics.median(present[0].rates[key]), best_of(key), floor(*key)
        cells = [spread(e.rates[key]) if key in e.rates else "-" for e in present]
        yield (f"| {key[0]} {key[1]:,} | {' | '.join(cells)} | {f'{own / best:.2f}' if best else '-'} "
               f"| {most:,.0f} | {own / most:.0%} |")


def main():
    options = arguments()
    config = json.loads((options.shape / "config.json").read_text())
    everyone = engines(options, vocab=min(config["vocab_size"], 4000))
    present = [e for e in everyone if not e.missing]
    for engine in everyone:
        if engine.missing:
            print(f"{engine.name}: skipped, not installed (bench/peers/install.sh)")
    rooflines = []
    for turn in range(options.rounds):
        for engine in present:
            print(f"round {turn + 1} of {options.rounds}: {engine.name}", file=sys.stderr, flush=True)
            rooflines += engine.take_turn()
    roofline = {key: max(r[key] for r in rooflines) for key in ("read_bytes", "bf16_flops", "parameters")}
    load = " ".join(f"{load:.1f}" for load in os.getloadavg())
    floor = floors(config, roofline)
    rows = list(table(present, floor))
    print(f"\n{options.shape.name}, bf16, {options.threads} threads; median (least - most) of {options.rounds} turns; "
          f"reading {roofline['read_bytes'] / 1e9:.1f} GB/s, {roofline['bf16_flops'] / 1e9:,.0f} GFLOP/s in the same run\n")
    print("\n".join(rows))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    out = options.out / f"engine-{options.shape.name}-{options.threads}-threads.json"
    out.write_text(json.dumps({
        "commit": commit, "command": f"THREADS={options.threads} ROUNDS={options.rounds} bench/run.sh engine",
        "machine": f"{os.cpu_count()} cores (shared), {platform.machine()}; load average {load}", "roofline": roofline,
        "floors": [{"what": w, "size": s, "tokens_per_second": round(floor(w, s), 1)} for w, s in present[0].rates],
        "tokens_per_second": {e.name: [{"what": w, "size": s, "rounds": [round(r, 1) for r in rates]}
                                       for (w, s), rates in e.rates.items()] for e in present}}, indent=1) + "\n")


main()
