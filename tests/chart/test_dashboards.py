"""Dashboards are what their generator writes, ask for what exists, and can be read."""
import collections
import json
import re
import subprocess
import sys

import pytest
from conftest import NO_TOOLS
from dashboards import FILES, TARGET, asked, filled, load, metrics_module, panels, queries
from render import SOURCE, TOOLS

PROMTOOL = TOOLS / "bin/promtool"
GENERATOR = SOURCE / "deploy/observability/dashboards.py"
# The parts of a histogram are series of their own.
PARTS = re.compile(r"_(bucket|sum|count)$")

boards = pytest.mark.parametrize("board", [load(path) for path in FILES], ids=[path.stem for path in FILES])


def test_they_are_what_the_generator_writes():
    done = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_one_for_each_concern():
    assert [path.stem for path in FILES] == ["decode", "handover", "overview", "prefill", "router", "scaling"]
    assert len({load(path)["uid"] for path in FILES}) == len(FILES)


def family(known, name):
    """(type, label -> values) of what a series belongs to, or None."""
    if name in known and known[name][0] != "histogram":
        return known[name]
    whole = known.get(PARTS.sub("", name))
    if whole and whole[0] == "histogram" and name != PARTS.sub("", name):
        return "histogram", whole[1] | ({"le": set()} if name.endswith("_bucket") else {})
    return None


def complaints(expression, known):
    """What of an expression no program exports."""
    selectors, grouped, stray = asked(expression)
    wrong = [f"'{word}' is no selector" for word in stray]
    allowed = set(TARGET)
    for name, labels in selectors:
        found = family(known, name)
        if not found:
            wrong.append(f"no metric {name}")
            continue
        allowed |= found[1].keys()
        wrong += [f"{name} has no label {label}" for label in labels.keys() - found[1].keys() - TARGET]
        wrong += [f"{name} has no {label} {value}" for label, values in labels.items() if found[1].get(label)
                  for value in values - found[1][label]]
        if found[0] in ("counter", "histogram") and not re.search(rf"rate\({name}\{{[^}}]*\}}\[", expression):
            wrong.append(f"{name} is a counter that nothing takes the rate of")
        if found[0] == "gauge" and re.search(rf"rate\({name}\b", expression):
            wrong.append(f"{name} is a gauge")
    return wrong + [f"nothing has the label {label}" for label in grouped - allowed]


@boards
def test_panels_ask_for_metrics_and_labels_that_the_programs_export(board):
    known = metrics_module().known()
    wrong = [(title, complaint) for title, expression in queries(board) for complaint in complaints(expression, known)]
    variables = [v["query"]["query"] for v in board["templating"]["list"] if v["type"] == "query"]
    for query in variables:
        metric, labels, label = re.fullmatch(r"label_values\((\w+)(?:\{(.*)\})?, (\w+)\)", query).groups()
        named = set(re.findall(r"(\w+)=~?\"", labels or "")) | {label}
        if metric not in known or not named <= known[metric][1].keys() | TARGET:
            wrong.append((query, "asks for what is not there"))
    assert not wrong


@pytest.mark.parametrize("expression", [
    "sum (rate(baton_request_total{}[5m]))", 'sum (rate(baton_requests_total{result="failed"}[5m]))', "sum (baton_requests_total{})",
    'sum (rate(baton_requests_total{outcome="succeeded"}[5m]))', "sum by (role) (rate(baton_requests_total{}[5m]))", "sum (rate(baton_requests_inflight{}[5m]))", "baton_requests_inflight",
    "sum (rate(baton_request_ttft_seconds{}[5m]))"])
def test_a_wrong_expression_is_found(expression):
    assert complaints(expression, metrics_module().known())


@boards
def test_promtool_understands_every_expression(board, tmp_path):
    if not PROMTOOL.exists():
        pytest.skip(f"no promtool: {NO_TOOLS}")
    rules = [{"record": f"asked:{i}", "expr": filled(expression)} for i, (_, expression) in enumerate(queries(board))]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": board["uid"], "rules": rules}]}))
    done = subprocess.run([PROMTOOL, "check", "rules", tmp_path / "rules.json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@boards
def test_a_panel_says_what_it_shows_in_which_unit_and_covers_no_other(board):
    assert [name for name, times in collections.Counter(panel["id"] for panel in board["panels"]).items() if times > 1] == []
    taken = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for cell in ((x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])):
            assert cell not in taken, f"{panel['title']} covers {taken[cell]}"
            taken[cell] = panel["title"]
    for panel in panels(board):
        assert panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]), panel["title"]


@boards
def test_variables_that_are_used_are_there_and_those_that_are_there_are_used(board):
    names = {variable["name"] for variable in board["templating"]["list"]}
    assert {"datasource", "namespace", "job"} <= names
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([board["panels"], [v for v in board["templating"]["list"] if v["type"] == "query"]])))
    assert used - {"__rate_interval", "__all"} == names


def test_the_chart_brings_them_all(render):
    objects = render("monitoring.dashboards.enabled=true")
    maps = [each for each in objects.of("ConfigMap") if each["metadata"]["labels"].get("grafana_dashboard") == "1"]
    brought = {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    assert brought == {f"baton-{path.stem}.json": load(path) for path in FILES}
    assert not [each for each in render().of("ConfigMap") if "grafana_dashboard" in each["metadata"]["labels"]]
