"""Draws the plots of docs/performance.md from what the suites have left in bench/baselines. See bench/run.sh."""
import argparse
import json
import statistics
from pathlib import Path

import matplotlib
matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)

plt.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "baton", "font.family": "sans-serif", "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.alpha": 0.25, "legend.frameon": False,
})
COLORS = ("#9a3412", "#1d4ed8", "#15803d", "#6b21a8", "#525252")


def save(figure, path):
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    text = path.read_text()
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    plt.close(figure)
    print(path)


def disaggregation(baselines, out):
    """Latency and goodput against load, of each way to use the same cores."""
    data = json.loads((baselines / "disaggregation.json").read_text())
    points = data["points"]
    setups = list(dict.fromkeys(point["setup"] for point in points))
    rates = sorted({point["chats_per_s"] for point in points})

    def values(setup, rate, of):
        return [of(point) for point in points if point["setup"] == setup and point["chats_per_s"] == rate]

    panels = (
        ("chats: between two tokens, p99 (ms)", lambda point: point["chat"]["itl_p99"], True),
        ("chats: first token, p50 (ms)", lambda point: point["chat"]["ttft_p50"], True),
        ("long prompts: first token, p50 (ms)", lambda point: point["long"]["ttft_p50"], True),
        ("chats within the SLO (%)", lambda point: 100 * point["chat"]["good_share"], False),
    )
    figure, axes = plt.subplots(1, len(panels), figsize=(13, 3.3), layout="constrained")
    for (title, of, logarithmic), axis in zip(panels, axes):
        for setup, color in zip(setups, COLORS):
            middle = [statistics.median(values(setup, rate, of)) for rate in rates]
            axis.plot(rates, middle, "o-", color=color, markersize=4, label=setup)
            axis.fill_between(rates, [min(values(setup, rate, of)) for rate in rates],
                              [max(values(setup, rate, of)) for rate in rates], color=color, alpha=0.15, linewidth=0)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("chats per second")
        if logarithmic:
            axis.set_yscale("log", subs=(1, 2, 5))
            for ticks in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
                ticks(lambda value, _: f"{value:,.0f}" if f"{value:e}"[0] in "125" else "")
        else:
            axis.set_ylim(0, 103)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(setups))
    save(figure, out / "disaggregation.svg")


def engine(baselines, out):
    """Tokens per second of each engine, beside the floor of the machine."""
    for path in sorted(baselines.glob("engine-*.json")):
        data = json.loads(path.read_text())
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained", width_ratios=(1, 2))
        for axis, what in zip(axes, ("prefill", "decode")):
            draw_rates(axis, what, data)
        handles, labels = axes[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        save(figure, out / f"{path.stem}.svg")


def draw_rates(axis, what, data):
    engines = {name: {row["size"]: row["rounds"] for row in rows if row["what"] == what}
               for name, rows in data["tokens_per_second"].items()}
    sizes = list(engines["Baton"])
    width = 0.8 / len(engines)
    for number, ((name, rates), color) in enumerate(zip(engines.items(), COLORS)):
        at = [place + (number - (len(engines) - 1) / 2) * width for place, size in enumerate(sizes) if size in rates]
        middle = [statistics.median(rates[size]) for size in sizes if size in rates]
        spread = [[abs(statistics.median(rates[size]) - end(rates[size])) for size in sizes if size in rates] for end in (min, max)]
        axis.bar(at, middle, width * 0.92, color=color, label=name, yerr=spread, error_kw={"linewidth": 0.8})
    floors = {row["size"]: row["tokens_per_second"] for row in data.get("floors", []) if row["what"] == what}
    for place, size in enumerate(size for size in sizes if size in floors):
        label = "what memory and arithmetic allow" if place == 0 else None
        axis.plot([place - 0.45, place + 0.45], [floors[size]] * 2, color="black", linewidth=1, linestyle=":", label=label)
    axis.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    axis.set_xlabel("tokens of a prompt" if what == "prefill" else "sequences side by side")
    axis.set_title(f"{what}, tokens/s", fontsize=9)


DRAWINGS = {"disaggregation": disaggregation, "engine": engine}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baselines", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("drawing", nargs="*", choices=[[], *DRAWINGS], help="default: all")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.drawing or DRAWINGS:
        DRAWINGS[name](options.baselines, options.out)


if __name__ == "__main__":
    main()
