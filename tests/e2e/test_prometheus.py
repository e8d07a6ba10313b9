"""A real Prometheus reads a cluster under load: every panel of every dashboard has something to show."""
import json
import math
import pathlib
import re
import subprocess
import sys
import urllib.parse

import pytest

from cluster import BIN, SOURCE, Up, wait_until
from test_jaeger import free_ports
from test_metrics import metrics
from test_planner import Planner

sys.path.append(str(SOURCE / "tests/chart"))
from dashboards import FILES, filled, load, queries  # noqa: E402

TOOLS = pathlib.Path(subprocess.run([SOURCE / "tests/chart/tools.sh", "--path"], capture_output=True, text=True, check=True).stdout.strip())
PROMETHEUS = TOOLS / "bin/prometheus"
pytestmark = pytest.mark.skipif(not PROMETHEUS.exists(), reason="no Prometheus in the cache: tests/chart/tools.sh brings it")

# Panels that have nothing to show unless something happens that this load does not bring about.
EMPTY = {
    "Time in the queue",  # of requests that waited: nobody does while workers have room
}
LOAD = ("--rate", "25", "--duration", "12s", "--prompt-tokens", "128", "--output-tokens", "32", "--shared-prefix-share", "0.5",
        "--shared-prefix-tokens", "64")


class Prometheus:
    def __init__(self, folder, up, planner):
        """As deploy/observability/prometheus.yaml has it, but for the addresses and how often it looks."""
        text = (SOURCE / "deploy/observability/prometheus.yaml").read_text()
        for said, meant in (("127.0.0.1:8000", up.http.removeprefix("http://")), ("127.0.0.1:9601", planner.http),
                            ("scrape_interval: 5s", "scrape_interval: 500ms")):
            assert said in text
            text = text.replace(said, meant)
        (folder / "prometheus.yaml").write_text(text)
        workers = [worker["metrics_address"] for worker in up.debug()["workers"]]
        (folder / "workers.json").write_text(json.dumps([{"targets": workers}]))
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            [PROMETHEUS, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={self.address}", "--log.level=warn"], stdout=self.log, stderr=self.log)
        wait_until(lambda: self.process.poll() is not None or self.targets_up() == 2 + len(workers), what="all are read")
        assert self.process.poll() is None, (folder / "log").read_text()

    def ask(self, query):
        text = metrics.get(f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": query}))
        return [float(series["value"][1]) for series in json.loads(text)["data"]["result"]]

    def targets_up(self):
        try:
            return sum(self.ask("up"))
        except OSError:
            return 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()  # how long it takes to end well is not our claim
        self.process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    with Up(tmp_path_factory.mktemp("up") / "run", "--placement", "always-remote", *metrics.CLUSTER_FLAGS) as up:
        up.wait_ready()
        with Planner(tmp_path_factory.mktemp("planner"), up) as planner:
            with Prometheus(tmp_path_factory.mktemp("prometheus"), up, planner) as prometheus:
                subprocess.run([BIN / "baton", "bench", "--grpc", up.grpc, "--http", up.http.removeprefix("http://"), *LOAD],
                               check=True, stdout=subprocess.DEVNULL, timeout=120)
                yield prometheus
        assert up.stop() == 0, up.output


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_panel_has_data(prometheus, path):
    answers = {(title, expression): prometheus.ask(filled(expression, "30s")) for title, expression in queries(load(path))}
    shown = {asked for asked, values in answers.items() if any(map(math.isfinite, values))}
    assert {title for title, _ in answers.keys() - shown} <= EMPTY


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_variable_has_values(prometheus, path):
    """But for `namespace`, which only a PodMonitor adds."""
    for variable in load(path)["templating"]["list"]:
        if variable["type"] == "query" and variable["name"] != "namespace":
            metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
            assert prometheus.ask(f'count by ({label}) ({filled(metric)})'), variable["query"]["query"]


def test_the_figures_are_those_of_the_load(prometheus):
    """Units and factors: what panels say is what was sent."""
    ask = {(load(path)["title"], title): expression for path in FILES for title, expression in queries(load(path))}
    failed, = prometheus.ask(filled(ask["Baton / Overview", "Failed"], "30s"))
    assert failed == 0
    size, = prometheus.ask(filled(ask["Baton / KV hand-over", "Mean size"], "30s"))
    at_most = 128 * 3072  # a prompt's tokens, in bytes of the demo model's KV
    assert at_most / 4 < size <= at_most
    sent, received = prometheus.ask(filled(ask["Baton / KV hand-over", "Sent and received"], "30s"))
    assert sent == pytest.approx(received, rel=0.2)
    hits, = prometheus.ask(filled(ask["Baton / Prefill workers", "Prefix cache hit rate"], "30s"))
    assert 0 < hits < 1
