"""Compact descriptions of Grafana dashboards, and the JSON that Grafana reads (schema 39: Grafana 10.4 and newer)."""
import json

SCHEMA = 39
COLUMNS = 24
HEIGHT = {"row": 1, "stat": 4, "timeseries": 8, "heatmap": 8}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
TIMES = ("p50", 0.5), ("p95", 0.95), ("p99", 0.99)


def rate(metric, by="", **labels):
    """Summed rate of a counter, over what the variables of the dashboard choose."""
    return f"sum{f' by ({by})' if by else ''} (rate({series(metric, **labels)}[$__rate_interval]))"


def now(metric, by="", how="sum", **labels):
    """A gauge, likewise."""
    return f"{how}{f' by ({by})' if by else ''} ({series(metric, **labels)})"


def series(metric, **labels):
    """A selector. Where a series has no such label, as `namespace` outside of Kubernetes, .* still matches."""
    chosen = {"namespace": "$namespace", "job": "$job"} | labels
    return metric + "{" + ", ".join(f'{label}=~"{value}"' if value.startswith("$") or "|" in value or "*" in value
                                    else f'{label}="{value}"' for label, value in chosen.items()) + "}"


def quantiles(histogram, by="", legend="", which=TIMES, **labels):
    grouped = f"le, {by}" if by else "le"
    return [(f"histogram_quantile({q}, {rate(f'{histogram}_bucket', by=grouped, **labels)})", f"{legend}{name}")
            for name, q in which]


def over(part, whole):
    """A quotient; without traffic it is 0/0, which Grafana leaves out."""
    return f"{part}\n/\n{whole}"


class Panel:
    def __init__(self, title, text, unit, targets, kind="timeseries", width=8, red=None, red_below=None, stacked=False,
                 maximum=None, zero_is_least=True):
        self.title, self.text, self.unit, self.kind, self.width = title, text, unit, kind, width
        self.targets = [(targets, title)] if isinstance(targets, str) else targets
        self.red, self.red_below, self.stacked, self.maximum, self.zero_is_least = red, red_below, stacked, maximum, zero_is_least

    def json(self, number, x, y):
        return {
            "id": number, "type": self.kind, "title": self.title, "description": self.text, "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": HEIGHT[self.kind]},
            "fieldConfig": {"defaults": self.defaults(), "overrides": []}, "options": self.options(),
            "targets": [self.target(i, *target) for i, target in enumerate(self.targets)]}

    def target(self, i, expr, legend):
        return {"refId": chr(ord("A") + i), "datasource": DATASOURCE, "expr": expr, "legendFormat": legend,
                "format": "heatmap" if self.kind == "heatmap" else "time_series"}

    def defaults(self):
        steps = [{"color": "green", "value": None}]
        if self.red is not None:
            steps.append({"color": "red", "value": self.red})
        if self.red_below is not None:
            steps = [{"color": "red", "value": None}, {"color": "green", "value": self.red_below}]
        shown = {"unit": self.unit, "thresholds": {"mode": "absolute", "steps": steps}}
        if self.zero_is_least and self.kind == "timeseries":
            shown["min"] = 0
        if self.maximum is not None:
            shown["max"] = self.maximum
        if self.kind == "timeseries":
            shown["custom"] = {
                "drawStyle": "line", "lineWidth": 1, "fillOpacity": 30 if self.stacked else 5, "showPoints": "never",
                "stacking": {"mode": "normal" if self.stacked else "none"},
                "thresholdsStyle": {"mode": "off" if len(steps) == 1 else "dashed"}}
        return shown

    def options(self):
        if self.kind == "stat":
            return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
        if self.kind == "heatmap":
            return {"calculate": False, "yAxis": {"unit": self.unit}, "color": {"mode": "scheme", "scheme": "Blues"}}
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}


def variable(name, query, label):
    """Several may be chosen; all of them at first, also series that lack the label."""
    return {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "query": {"query": query, "refId": name},
            "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".*",
            "current": {"text": "All", "value": "$__all"}}


def dashboard(uid, title, text, anchor, rows, variables=()):
    """`anchor`: the metric that knows the namespaces and jobs; `rows`: title -> panels, laid out from left to right."""
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    common = [variable("namespace", f"label_values({anchor}, namespace)", "Namespace"),
              variable("job", f'label_values({anchor}{{namespace=~"$namespace"}}, job)', "Release (job)")]
    links = [{"title": "Baton", "type": "dashboards", "tags": ["baton"], "asDropdown": True, "includeVars": True, "keepTime": True}]
    return {"uid": uid, "title": title, "description": text, "tags": ["baton"], "schemaVersion": SCHEMA, "version": 1, "editable": True,
            "time": {"from": "now-1h", "to": "now"}, "refresh": "30s", "timezone": "browser", "graphTooltip": 1, "links": links,
            "templating": {"list": [source, *common, *variables]}, "panels": list(lay_out(rows))}


def lay_out(rows):
    number, y = 0, 0
    for title, panels in rows.items():
        number += 1
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
               "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": HEIGHT["row"]}}
        x, y, high = 0, y + HEIGHT["row"], 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y, high = 0, y + high, 0
            number += 1
            yield panel.json(number, x, y)
            x, high = x + panel.width, max(high, HEIGHT[panel.kind])
        y += high


def text_of(board):
    """One panel's query, legend, place: a line each, so that a change of one is a change of a line."""
    return compact(board) + "\n"


def compact(value, indent=0):
    flat = json.dumps(value)
    if len(flat) + indent <= 118 or not isinstance(value, (dict, list)):
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(key)}: {compact(each, indent + 2)}" for key, each in value.items()]
    else:
        lines = [inner + compact(each, indent + 2) for each in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return left + "\n" + ",\n".join(lines) + "\n" + " " * indent + right
