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
import signal
import subprocess
import sys
import time

import images
import real_nodes
import report
from control_plane import ControlPlane
from load import Load, now
from release import Release
from running import run_steps
from steps import Failed, wait_for

IMAGE = "registry.test/baton:e2e"
POOLS = ("router", "prefill", "decode")
# Small, as the machine is: two nodes share its processors. A worker is told to compute with one thread.
SIZE = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "640Mi"}}
VALUES = {
    "image": {"repository": IMAGE.rpartition(":")[0], "tag": IMAGE.rpartition(":")[2]},
    "tls": {"enabled": True},
    "router": {"replicas": 2, "config": {"placement": "always-remote"}, "resources": SIZE, "drainSeconds": 30},
    "prefill": {"replicas": 2, "resources": SIZE, "drainSeconds": 30, "config": {"kv_memory": "64MiB"}},
    "decode": {"replicas": 2, "resources": SIZE, "drainSeconds": 30, "config": {"kv_memory": "64MiB"}},
}
CONNECTION_LOST = ("TimeoutError", "URLError", "ConnectionResetError", "RemoteDisconnected", "IncompleteRead")
# Kubernetes' own 40 s and 5 minutes are those of clusters that are not there for one minute.
API_FLAGS = ["--default-not-ready-toleration-seconds=2", "--default-unreachable-toleration-seconds=2"]
CONTROLLER_FLAGS = ["--node-monitor-period=1s", "--node-monitor-grace-period=12s"]


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
        release.install("--wait", "--timeout", "5m")
        nodes = {node_of(pod) for pod in release.pods()}
        said(f"`helm install --wait` with TLS: {len(release.pods())} pods of three pools on {len(nodes)} nodes")
    front = cluster.control.get_one("service", "chat-baton", "-n", "llm")["spec"]["clusterIP"]
    url = f"http://{front}:8000/v1/chat/completions"
    with steps.step("chat", needed=True) as said:
        said(wait_for(lambda: remote_chat(cluster, release, url), 60, "a prompt computed on the other node"))
    with steps.step("helm-test") as said:
        release.helm("test", "chat", "--timeout", "2m")
        said("the chart's own test has its answer, by gRPC with TLS")
    with steps.step("load", needed=True) as said:
        load = Load(cluster.nodes[0], url)
        ending.callback(load.stop)
        said("6 clients of the Service from here on, each asking again as soon as it has its answer, and comparing it")
    under_load(cluster, release, load, steps)
    with steps.step("uninstall") as said:
        load.stop()
        release.uninstall()
        release.nothing_is_left()
        said("nothing is left in the namespace, of any kind that the API server knows")


def node_of(pod):
    return pod["spec"].get("nodeName")


def remote_chat(cluster, release, url):
    """Asks once; says where prompt and answer were computed when these were different nodes."""
    identity = f"cross-{time.time_ns()}"
    body = {"model": "baton-demo", "max_tokens": 16, "messages": [{"role": "user", "content": f"{identity}: what is a node?"}]}
    program = ("import sys, urllib.request as u; print(u.urlopen(u.Request(sys.argv[1], sys.argv[2].encode(), "
               "{'Content-Type': 'application/json', 'X-Request-Id': sys.argv[3]}), timeout=30).read().decode())")
    done = subprocess.run([*cluster.nodes[0].inside, sys.executable, "-c", program, url, json.dumps(body), identity],
                          capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise Failed(done.stderr.splitlines()[-1])
    flight = why(release, identity)
    measured = next((each["measured"] for each in flight["placements"] if each["measured"]), None) or {}
    nodes = {pod["metadata"]["name"]: node_of(pod) for pod in release.pods()}
    prefill, decode = (nodes.get(worker.split("@")[0]) for worker in (measured.get("prefill_worker", ""), flight["decode"]))
    if not prefill or prefill == decode:
        raise Failed(f"prefill {prefill or 'none'}, decode {decode}")
    return (f"through the Service: prompt computed on {prefill}, {measured['kv_bytes'] / 1024:.0f} KiB of KV handed over to "
            f"{decode}, as `baton why` says")


def why(release, identity):
    """`baton why` in the routers' pods: one of them has had the request."""
    said = []
    for pod in release.pods("router"):
        done = release.cluster.try_kubectl("-n", release.namespace, "exec", pod["metadata"]["name"], "--", "baton", "why",
                                           identity, "--json")
        if done.returncode == 0:
            return json.loads(done.stdout)
        said.append(done.stderr.strip())
    raise Failed(f"no router knows {identity}: {said}")


def under_load(cluster, release, load, steps):
    control = cluster.control
    with steps.step("upgrade") as said:
        began = now()
        before = {pool: release.template(pool) for pool in POOLS}
        release.upgrade("--set", "log.level=debug", "--wait", "--timeout", "5m")
        rolled = [pool for pool in POOLS if release.template(pool) != before[pool]]
        if rolled != list(POOLS):
            raise Failed(f"only {rolled} rolled")
        said(f"`helm upgrade`, all three pools: {load.none_failed(began)}")
    with steps.step("rollback") as said:
        began = now()
        release.helm("rollback", "chat", "--wait", "--timeout", "5m")
        said(f"`helm rollback`, all three pools: {load.none_failed(began)}")
    with steps.step("drain") as said:
        began = now()
        control.kubectl("drain", "node-2", "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=240s")
        release.rolled_out(*POOLS)
        if any(node_of(pod) == "node-2" for pod in release.pods()):
            raise Failed("pods are still on node-2")
        said(f"`kubectl drain` of a node: {load.none_failed(began)}")
    with steps.step("spread-again") as said:
        began = now()
        control.kubectl("uncordon", "node-2")
        for pool in POOLS:
            control.kubectl("-n", "llm", "rollout", "restart", f"deployment/{release.full(pool)}")
        release.rolled_out(*POOLS)
        lonely = [pool for pool in POOLS if len({node_of(pod) for pod in release.pods(pool)}) != 2]
        if lonely:
            raise Failed(f"{lonely} on one node")
        said(f"`kubectl uncordon`, `kubectl rollout restart`: each pool on both nodes; {load.none_failed(began)}")
    killed(cluster, release, load, steps)
    cut_off(cluster, release, load, steps)


def killed(cluster, release, load, steps):
    with steps.step("kill") as said:
        began = now()
        pod, node = one_of(cluster, release, "decode")
        restarts = status_of(release, pod)["restartCount"]
        os.kill(node.process(pod), signal.SIGKILL)
        after = back(release, pod, restarts, "Error")
        said(f"`kill -9` of a decode worker, its container back and ready after {after:.0f} s: {load.none_failed(began)}")
    with steps.step("oom") as said:
        began = now()
        pod, node = one_of(cluster, release, "decode")
        restarts = status_of(release, pod)["restartCount"]
        out_of_memory(node.process(pod))
        after = back(release, pod, restarts, "OOMKilled")
        said(f"a decode worker that the kernel kills for its memory limit (OOMKilled), back after {after:.0f} s: "
             f"{load.none_failed(began)}")


def one_of(cluster, release, component):
    pod = release.pods(component)[0]
    return pod["metadata"]["name"], next(node for node in cluster.nodes if node.name == node_of(pod))


def status_of(release, pod):
    status, = release.cluster.get_one("pod", pod, "-n", release.namespace)["status"]["containerStatuses"]
    return status


def back(release, pod, restarts, reason):
    """Seconds until the pod's container has been started once more, for that reason, and is ready."""
    began = time.monotonic()

    def ready():
        status = status_of(release, pod)
        return status["restartCount"] > restarts and status["ready"] and status["lastState"]["terminated"]
    last = wait_for(ready, 120, f"{pod} is back")
    if last["reason"] != reason:
        raise Failed(f"ended for {last['reason']}, not {reason}")
    return time.monotonic() - began


def out_of_memory(process):
    """Something else in the worker's container takes all that it may have, and the worker is the one to go, as when it leaks."""
    pathlib.Path(f"/proc/{process}/oom_score_adj").write_text("1000")
    cgroups = [line.split(":", 2) for line in pathlib.Path(f"/proc/{process}/cgroup").read_text().splitlines()]
    hierarchy, path = next((f"/sys/fs/cgroup/{names}".rstrip("/"), path) for _, names, path in cgroups if names in ("memory", ""))
    eats = ("import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); taken = []\n"
            "while os.path.exists('/proc/' + sys.argv[2]): taken.append(b'x' * (8 << 20))")
    subprocess.run([sys.executable, "-c", eats, f"{hierarchy}{path}/cgroup.procs", str(process)], capture_output=True, timeout=60)


def cut_off(cluster, release, load, steps):
    """Clients whose connection led to the router of that node lose it: those are counted, and told of."""
    node = cluster.nodes[1]
    with steps.step("cut-off") as said:
        began, since = time.monotonic(), now()
        cluster.wires.cut(node.number)
        wait_for(lambda: cluster.ready(node) != "True", 60, "the node is missed")
        missed = time.monotonic() - began
        wait_for(lambda: all(len([pod for pod in release.pods(pool) if node_of(pod) == "node-1" and is_ready(pod)]) == 2
                             for pool in POOLS), 120, "its pods are replaced")
        replaced = time.monotonic() - began
        whole = now()
        load.settled()
        well, bad = load.since(since)
        if later := load.since(whole, "sent")[1]:
            raise Failed(f"after the pods were replaced: {later[:3]}")
        # A connection may break with the router at its other end; what a router answers has to be right.
        if answered := [each for each in bad if not each.startswith(CONNECTION_LOST)]:
            raise Failed(f"{len(answered)} of {well + len(bad)} requests: {answered[:3]}")
        said(f"a node loses its network: missed after {missed:.0f} s, its pods replaced after {replaced:.0f} s; {len(bad)} of "
             f"{well + len(bad)} requests lost their connection, none that was sent after that, every text as before")
    with steps.step("mended") as said:
        began = now()
        cluster.wires.mend(node.number)
        wait_for(lambda: cluster.ready(node) == "True", 60, "the node is back")
        release.rolled_out(*POOLS)
        said(f"the network is back: the node is ready; {load.none_failed(began)}")


def is_ready(pod):
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="run.sh")
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--image", type=pathlib.Path)
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
