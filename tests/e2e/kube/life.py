"""What operators and accidents do to a release, while clients ask all the time."""
import os
import pathlib
import signal
import subprocess
import sys
import time

from load import now
from release import node_of
from steps import Failed, wait_for

POOLS = ("router", "prefill", "decode")
CONNECTION_LOST = ("TimeoutError", "URLError", "ConnectionResetError", "RemoteDisconnected", "IncompleteRead", "SSLEOFError")


def steps(cluster, release, load, steps):
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
