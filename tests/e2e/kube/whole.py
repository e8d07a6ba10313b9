"""
A release on two real nodes, from the project's own image: what an operator does with it, and what happens to it, while
clients ask all the time. The table of what was done goes into the documentation with --report.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import blue_green
import front
import images
import keda
import life
import observe
import real_nodes
import report
from control_plane import ControlPlane
from load import Load
from release import Release, node_of
from running import run_steps
from steps import Failed, wait_for

IMAGE = "registry.test/baton:e2e"
PARTS = ("life", "observe", "keda")
# Small, as the machine is: two nodes share its processors. A worker is told to compute with one thread.
SIZE = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "640Mi"}}
VALUES = {
    "image": {"repository": IMAGE.rpartition(":")[0], "tag": IMAGE.rpartition(":")[2]},
    "tls": {"enabled": True},
    "apiKeys": front.VALUES["apiKeys"],
    "planner": front.VALUES["planner"],
    "router": {**front.VALUES["router"], "replicas": 2, "config": {"placement": "always-remote"}, "resources": SIZE, "drainSeconds": 30},
    "prefill": {"replicas": 2, "resources": SIZE, "drainSeconds": 30, "config": {"kv_memory": "64MiB"}},
    "decode": {"replicas": 2, "resources": SIZE, "drainSeconds": 30, "config": {"kv_memory": "64MiB"}},
}
# Kubernetes' own 40 s and 5 minutes are those of clusters that are not there for one minute.
API_FLAGS = ["--default-not-ready-toleration-seconds=2", "--default-unreachable-toleration-seconds=2",
             "--enable-aggregator-routing=true"]
CONTROLLER_FLAGS = ["--node-monitor-period=1s", "--node-monitor-grace-period=12s",
                    "--horizontal-pod-autoscaler-sync-period=5s"]


class Cluster:
    """The control plane and two nodes; taken down in the order that leaves nothing."""

    def __init__(self, folder, ending):
        ending.enter_context(real_nodes.the_machine_as_before())
        self.wires = real_nodes.Wires(f"baton-{os.getpid()}")
        ending.callback(self.wires.close)
        self.control = ControlPlane(folder, real_nodes.inside(self.wires.hub), real_nodes.HUB_ADDRESS, API_FLAGS, CONTROLLER_FLAGS)
        ending.callback(self.control.stop)
        real_nodes.names(self.control)
        self.nodes = []
        ending.callback(self._leave)

    def join(self, archives):
        for number in (1, 2):
            node = real_nodes.Node(self.control, self.wires, number)
            self.nodes.append(node)
            for archive in archives:
                node.take(archive)
            node.join()
        wait_for(self._ready, 120, "both nodes are ready")

    def _ready(self):
        self.control.all_run()
        ready = {each["metadata"]["name"]: next(condition["status"] for condition in each["status"]["conditions"]
                                                if condition["type"] == "Ready")
                 for each in self.control.get("nodes")}
        return ready == {node.name: "True" for node in self.nodes}

    def ready(self, node):
        conditions = self.control.get_one("node", node.name)["status"]["conditions"]
        return next(each["status"] for each in conditions if each["type"] == "Ready")

    def _leave(self):
        self.control.processes.stop("kube-controller-manager", "kube-scheduler")
        with contextlib.suppress(subprocess.TimeoutExpired):  # a node that is cut off cannot say that they are gone
            self.control.try_kubectl("delete", "pods", "--all", "-A", "--grace-period=1", seconds=30)
        for node in self.nodes:
            self.control.processes.stop(node.kubelet)
        for node in self.nodes:
            node.clear()


def main(folder, steps, ending, options):
    folder.mkdir(parents=True)
    archive = options.image or images.baton(folder / "baton.tar", IMAGE)
    VALUES["image"]["repository"], _, VALUES["image"]["tag"] = images.name_of(archive).rpartition(":")
    values = folder / "values.json"
    values.write_text(json.dumps(VALUES))
    with steps.step("cluster", needed=True) as said:
        cluster = Cluster(folder / "cluster", ending)
        cluster.join([images.pause(real_nodes.PAUSE, folder / "pause.tar"), archive])
        version = json.loads(cluster.control.kubectl("get", "--raw", "/version"))["gitVersion"]
        said(f"Kubernetes {version}, two nodes with the project's image")
    release = Release(cluster.control, "chat", "llm", "-f", values)
    with steps.step("install", needed=True) as said:
        door = front.Front(cluster.control, release.namespace)
        release.install("--wait", "--timeout", "5m")
        nodes = {node_of(pod) for pod in release.pods()}
        door.find("chat-baton")
        said(f"`helm install --wait` with TLS, HTTPS and API keys: {len(release.pods())} pods of three pools on {len(nodes)} nodes")
    with steps.step("chat", needed=True) as said:
        said(wait_for(lambda: remote_chat(cluster, release, door), 60, "a prompt computed on the other node"))
    with steps.step("helm-test") as said:
        release.helm("test", "chat", "--timeout", "2m")
        said("the chart's own test has its answer, by gRPC with TLS")
    with steps.step("load", needed=True) as said:
        load = Load(cluster.nodes[0], door)
        ending.callback(load.stop)
        said("6 clients of the Service from here on, each asking again as soon as it has its answer, and comparing it")
    parts = options.only or PARTS
    if "life" in parts:
        life.steps(cluster, release, load, steps)
        blue_green.steps(cluster, release, door, steps, folder)
    observer = observe.Observer(cluster, release, door, load, steps, folder)
    observed = "observe" in parts and observer.look()
    load.stop()
    scaling = keda.Keda(cluster, release, door, steps, folder, ending)
    if "keda" in parts and scaling.scale():
        if observed:
            scaling.by_prometheus(observe.PROMETHEUS)
        scaling.sleep()
    with steps.step("uninstall") as said:
        load.stop()
        release.uninstall()
        door.forget()
        release.nothing_is_left()
        said("nothing is left in the namespace, of any kind that the API server knows")


def remote_chat(cluster, release, door):
    """Asks once; says where prompt and answer were computed when these were different nodes."""
    identity = f"cross-{time.time_ns()}"
    body = {"model": "baton-demo", "max_tokens": 16, "messages": [{"role": "user", "content": f"{identity}: what is a node?"}]}
    door.ask(cluster.nodes[0], body, **{"X-Request-Id": identity})
    flight = release.why(identity)
    measured = next((each["measured"] for each in flight["placements"] if each["measured"]), None) or {}
    nodes = {pod["metadata"]["name"]: node_of(pod) for pod in release.pods()}
    prefill, decode = (nodes.get(worker.split("@")[0]) for worker in (measured.get("prefill_worker", ""), flight["decode"]))
    if not prefill or prefill == decode:
        raise Failed(f"prefill {prefill or 'none'}, decode {decode}")
    return (f"through the Service: prompt computed on {prefill}, {measured['kv_bytes'] / 1024:.0f} KiB of KV handed over to "
            f"{decode}, as `baton why` says")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="run.sh")
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--image", type=pathlib.Path)
    parser.add_argument("--only", choices=PARTS, action="append")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("run.sh: networks and containers of its own take root")
    for program in ("ip", "nft", "nsenter", "sysctl"):
        if not shutil.which(program):
            sys.exit(f"run.sh: needs {program} on the path")
    began = time.monotonic()
    status, steps = run_steps(lambda folder, steps, ending: main(folder, steps, ending, options))
    if options.report:
        report.write(options.report, steps, time.monotonic() - began)
    sys.exit(status)
