"""What an operator sees of a release: a collector, Jaeger and Prometheus in the cluster beside it."""
import json
import math
import pathlib
import secrets
import shutil
import subprocess
import sys
import time
import urllib.parse

import images
import real_nodes
import targets
from load import now
from release import SOURCE
from steps import Failed, wait_for

sys.path += [str(SOURCE / "tests/e2e"), str(SOURCE / "tests/chart")]
from dashboards import FILES, filled, load, queries  # noqa: E402
from trace_tree import REMOTE_PREFILL, Tree, tags  # noqa: E402

NAMESPACE = "observe"
JAEGER = {"JAEGER_HOST": "0.0.0.0", "JAEGER_QUERY_HTTP": 16686, "JAEGER_QUERY_GRPC": 16685, "JAEGER_OTLP_GRPC": 4317,
          "JAEGER_OTLP_HTTP": 4318}
COLLECTOR = {"COLLECTOR_GRPC": "0.0.0.0:4317", "COLLECTOR_HTTP": "0.0.0.0:4318", "COLLECTOR_METRICS": "0.0.0.0:8889",
             "JAEGER": f"jaeger.{NAMESPACE}.svc:4317"}
OBSERVED = {"router": {"config": {"trace_endpoint": f"grpc://collector.{NAMESPACE}.svc:4317"}}, "planner": {"enabled": True},
            "monitoring": {"podMonitor": {"enabled": True, "interval": "1s"}, "rules": {"enabled": True},
                           "dashboards": {"enabled": True}}}
# Panels that have nothing to show unless something happens that this load does not bring about.
EMPTY = {"Time in the queue"}  # of requests that waited: nobody does while workers have room
WINDOW_SECONDS = 30
PROMETHEUS = f"http://prometheus.{NAMESPACE}.svc:9090"
# Where it asks which pods there are: beside the API server.
TARGETS = f"{real_nodes.HUB_ADDRESS}:9191"


class Observer:
    def __init__(self, cluster, release, door, load, steps, folder):
        self.cluster, self.control, self.release, self.door = cluster, cluster.control, release, door
        self.load, self.steps, self.folder = load, steps, folder

    def look(self):
        """False: without its programs nothing of it was tried."""
        programs = {"jaeger": tool("tools/observe/build_jaeger.sh"),
                    "prometheus": tool("tests/chart/tools.sh", "bin/prometheus")}
        if missing := [name for name, path in programs.items() if not path.exists()]:
            self.steps.skip("observe", f"missing {', '.join(missing)}: tools/observe/build_jaeger.sh, tests/chart/tools.sh bring them")
            return False
        with self.steps.step("observe-install", needed=True) as said:
            began = now()
            for each in operator_types():
                self.control.kubectl("apply", "--server-side", "-f", each)
            self.release.upgrade_with(self.folder, "observed", OBSERVED)
            self.install(programs)
            said("Jaeger, a collector with `deploy/observability/collector.yaml` and Prometheus as pods; an upgrade with "
                 f"`trace_endpoint`, `podMonitor`, `rules`, `dashboards`: {self.load.none_failed(began)}")
        with self.steps.step("trace") as said:
            said(wait_for(self.trace, 90, "the trace of a prompt computed by another pod"))
        with self.steps.step("scrape") as said:
            count = len(self.release.pods())
            wait_for(lambda: len(up := self.ask("up")) == count and all(value == 1 for value in up), 60,
                     lambda: f"{count} pods: {self.ask('up')}")
            said(f"Prometheus reads the {count} pods that the PodMonitor names, routers by HTTPS")
        with self.steps.step("dashboards") as said:
            said(self.panels())
        return True

    def trace(self):
        """Asks with a trace of its own, and Jaeger for it."""
        trace = secrets.token_hex(16)
        answer = self.door.ask(self.cluster.nodes[0], asking(f"{trace}: what is a node? " * 8, 200),
                               traceparent=f"00-{trace}-{secrets.token_hex(8)}-01")
        tree = Tree(wait_for(lambda: self.page("jaeger", 16686, f"api/traces/{trace}"), 30, f"trace {trace}")["data"][0])
        if tree.names() != REMOTE_PREFILL:
            raise Failed(f"spans {tree.names()}")
        if tags(tree.root)["gen_ai.usage.input_tokens"] != answer["usage"]["prompt_tokens"]:
            raise Failed(f"{tags(tree.root)} of {answer['usage']}")
        nodes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in self.release.pods()}
        decoder, = tree.named("decode")
        sender, = (span for span in tree.named("kv_transfer") if tree.instance(span) != tree.instance(decoder))
        # Which nodes they are on is the scheduler's business.
        prefill, decode = (nodes[tree.instance(span).partition("@")[0]] for span in (sender, decoder))
        if tree.covered() < 0.95:
            raise Failed(f"children account for {tree.covered():.1%} of the request")
        return (f"Jaeger has the trace of one request, sent by the router to the collector: {len(tree.spans)} spans, prefill on "
                f"{prefill}, decode on {decode}, {tags(sender)['baton.kv.bytes'] / 1024:.0f} KiB of KV at "
                f"{tags(sender)['baton.kv.gb_per_s']:.2g} GB/s; children account for {tree.covered():.1%} of the request")

    def panels(self):
        """Every query of every dashboard, once rates have a window behind them in which prompts were handed over."""
        until = time.monotonic() + WINDOW_SECONDS
        while time.monotonic() < until:  # what the clients ask is in the decode workers' caches by now
            self.door.ask(self.cluster.nodes[0], asking(f"{secrets.token_hex(16)}: what is a block? " * 4, 16))
        at = now()
        asked = [(path.stem, title, filled(expression, f"{WINDOW_SECONDS}s")) for path in FILES
                 for title, expression in queries(load(path))]
        empty = [(board, title, query) for board, title, query in asked
                 if title not in EMPTY and not any(map(math.isfinite, self.ask(query, at)))]
        if empty:
            raise Failed(f"{len(empty)} of {len(asked)} queries have no data: {empty[:5]}")
        return f"{len(asked)} queries of {len(FILES)} dashboards have data"

    def ask(self, query, at=None):
        words = {"query": query} | ({"time": at} if at else {})
        found = self.page("prometheus", 9090, "api/v1/query?" + urllib.parse.urlencode(words))
        return [float(series["value"][1]) for series in found["data"]["result"]] if found else []

    def page(self, service, port, path):
        """What a Service answers by way of the API server; None while it has nothing."""
        done = self.control.try_kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/services/{service}:{port}/proxy/{path}")
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout else None

    def install(self, programs):
        self.control.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        monitor = self.control.get_one("podmonitors.monitoring.coreos.com", self.release.full("").rstrip("-"), "-n",
                                       self.release.namespace)
        config = {"jaeger.yaml": (SOURCE / "tests/e2e/jaeger.yaml").read_text(),
                  "collector.yaml": (SOURCE / "deploy/observability/collector.yaml").read_text(),
                  "prometheus.yaml": json.dumps({"scrape_configs": targets.scrape_configs(monitor, TARGETS)})}
        self.control.apply({"apiVersion": "v1", "kind": "ConfigMap", "data": config, **named("config")})
        self.control.start("targets", sys.executable, pathlib.Path(targets.__file__), self.control.kubeconfig, TARGETS,
                           self.release.namespace, monitor["metadata"]["name"])
        image = {name: self.image(name, path) for name, path in programs.items()}
        jaeger = f"/{programs['jaeger'].resolve().name}"
        self.control.apply(
            *runs("jaeger", image["jaeger"], [jaeger, "--config=/config/jaeger.yaml"], (16686, 4317), JAEGER),
            *runs("collector", image["jaeger"], [jaeger, "--config=/config/collector.yaml"], (4317, 8889), COLLECTOR),
            *runs("prometheus", image["prometheus"], ["/prometheus", "--config.file=/config/prometheus.yaml",
                                                      "--storage.tsdb.path=/tmp/data"], (9090,), {}))
        self.control.kubectl("-n", NAMESPACE, "wait", "--for=condition=Available", "deployment", "--all", "--timeout=120s")

    def image(self, name, program):
        archive = images.of_program(program, f"registry.test/{name}:e2e", self.folder / f"{name}.tar")
        for node in self.cluster.nodes:
            node.take(archive)
        return f"registry.test/{name}:e2e"


def asking(text, tokens):
    return {"model": "baton-demo", "max_tokens": tokens, "ignore_eos": True, "messages": [{"role": "user", "content": text}]}


def tool(script, below=""):
    """Where a script that brings a program has it, or would have it."""
    return pathlib.Path(subprocess.run([SOURCE / script, "--path"], capture_output=True, text=True).stdout.strip()) / below


def operator_types():
    """CustomResourceDefinitions of the Prometheus operator."""
    return (pathlib.Path(shutil.which("kube-apiserver")).parent / "types").glob("monitoring.coreos.com_*.yaml")


def named(name):
    return {"metadata": {"name": name, "namespace": NAMESPACE}}


def runs(name, image, command, ports, env):
    """A Deployment of one pod and its Service."""
    labels = {"app": name}
    container = {"name": name, "image": image, "imagePullPolicy": "Never", "command": command,
                 "env": [{"name": key, "value": str(value)} for key, value in env.items()],
                 "readinessProbe": {"tcpSocket": {"port": ports[0]}, "periodSeconds": 1},
                 "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "tmp", "mountPath": "/tmp"}]}
    pod = {"containers": [container], "enableServiceLinks": False,
           "volumes": [{"name": "config", "configMap": {"name": "config"}}, {"name": "tmp", "emptyDir": {}}]}
    return ({"apiVersion": "apps/v1", "kind": "Deployment", **named(name), "spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}},
        {"apiVersion": "v1", "kind": "Service", **named(name), "spec": {
            "selector": labels, "ports": [{"name": str(port), "port": port} for port in ports]}})
