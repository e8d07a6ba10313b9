"""Reads the dashboards: their panels, what these ask, and the same as Prometheus is asked it."""
import importlib.util
import json
import re

from render import CHART, SOURCE

FOLDER = CHART / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))
# Labels that Prometheus and the operator add to every series.
TARGET = {"namespace", "pod", "instance", "job"}
WORDS = {"sum", "max", "count", "by", "rate", "time", "histogram_quantile", "label_values"}


def load(path):
    return json.loads(path.read_text())


def metrics_module():
    spec = importlib.util.spec_from_file_location("observe_metrics", SOURCE / "tools/observe/metrics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board):
    """(panel's title, expression) of every target."""
    return [(panel["title"], target["expr"]) for panel in panels(board) for target in panel["targets"]]


def filled(expression, interval="5m"):
    """With Grafana's variables as they are at first: all of everything."""
    return re.sub(r"\$\w+", ".*", expression.replace("$__rate_interval", interval))


def asked(expression):
    """(metric, label -> values) of every selector, the labels that are grouped by, and what is neither, of an expression."""
    expression = expression.replace("$__rate_interval", "5m")
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    selectors = [(name, {label: {value for value in values.split("|") if not value.startswith("$")}
                         for label, values in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', labels)})
                 for name, labels in re.findall(r"\b([a-z]\w*)\{([^}]*)\}", expression)]
    grouped = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", bare) for label in labels.split(",")}
    rest = re.sub(r"\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)", "", bare)
    stray = set(re.findall(r"\b[a-z_]\w+\b", rest)) - WORDS - {name for name, _ in selectors}
    return selectors, grouped, stray
