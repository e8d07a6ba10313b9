"""The chart in a real API server: accepted, scheduled on nodes that are nothing but what they say, rolled, taken back."""
import collections
import json
import pathlib
import shutil
import sys

import fake_nodes
from control_plane import ControlPlane
from pod_metrics import PodMetrics
from release import SOURCE, Release
from running import run_steps
from steps import Failed, wait_for

VALUES = SOURCE / "tests/chart/values"
NODES = [fake_nodes.node(f"{zone}-{kind}-{number}", zone, gpus) for zone in ("east", "west")
         for kind, gpus, count in (("cpu", 0, 2), ("gpu", 8, 2)) for number in range(count)]
# What values/gpu.yaml takes for granted.
CLASSES = [{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000}
           for name in ("front-door", "serving")] + [
    {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"}]
WEIGHTS = [
    {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "weights"},
     "spec": {"capacity": {"storage": "200Gi"}, "accessModes": ["ReadOnlyMany"], "storageClassName": "",
              "hostPath": {"path": "/srv/weights"}, "claimRef": {"name": "weights", "namespace": "gpu"}}},
    {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "weights", "namespace": "gpu"},
     "spec": {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeName": "weights",
              "resources": {"requests": {"storage": "200Gi"}}}}]


def main(folder, steps, ending):
    with steps.step("control-plane", needed=True) as said:
        # Fake nodes are never missed, however late a busy machine lets them say that they are there.
        cluster = ControlPlane(folder, controller_flags=["--horizontal-pod-autoscaler-sync-period=1s",
                                                         "--node-monitor-grace-period=1h"])
        ending.callback(cluster.stop)
        said(json.loads(cluster.kubectl("get", "--raw", "/version"))["gitVersion"])
    with steps.step("nodes", needed=True) as said:
        fake_nodes.start(cluster, NODES)
        cluster.kubectl("apply", "--server-side", "-f", pathlib.Path(shutil.which("kwok")).parent / "types")
        cluster.apply(*CLASSES)
        said(f"{len(NODES)} fake nodes, {len([n for n in NODES if n['spec']['taints']])} of them with 8 GPUs, in 2 zones")
    release = installed(cluster, steps)
    gpus(cluster, steps)
    every_kind(cluster, steps)
    upgraded(release, steps)
    scaled(cluster, steps, ending)
    removed(release, steps)


def installed(cluster, steps):
    """A release with all that it can have without others' programs."""
    release = Release(cluster, "chat", "chat", "--set", "tls.enabled=true,prefill.replicas=2,decode.replicas=2")
    with steps.step("install", needed=True) as said:
        release.install("--wait", "--timeout", "5m")
        said(f"{len(release.left())} objects, {len(release.pods())} pods available, under the restricted Pod Security Standard")
    with steps.step("spread") as said:
        for component in ("router", "prefill", "decode"):
            where = [pod["spec"]["nodeName"] for pod in release.pods(component)]
            if len(set(where)) != len(where):
                raise Failed(f"{component}: {where}")
        said("pods of a pool are on nodes of their own")
    with steps.step("services") as said:
        for service, component in (("chat-baton", "router"), ("chat-baton-router-peers", "router"),
                                   ("chat-baton-prefill", "prefill"), ("chat-baton-decode", "decode")):
            wait_for(lambda: addresses(cluster, service) == {pod["status"]["podIP"] for pod in release.pods(component)}, 20,
                     f"{service} leads to {component}")
        said("each Service leads to its pods and no others")
    with steps.step("disruptions") as said:
        for budget in cluster.get("pdb", "-n", "chat"):
            if budget["status"]["disruptionsAllowed"] != 1 or budget["status"]["expectedPods"] < 2:
                raise Failed(f"{budget['metadata']['name']}: {budget['status']}")
        said("one pod of each pool may go at a time")
    return release


def addresses(cluster, service):
    slices = cluster.get("endpointslices", "-n", "chat", "-l", f"kubernetes.io/service-name={service}")
    return {address for each in slices for endpoint in each.get("endpoints") or [] for address in endpoint["addresses"]}


def gpus(cluster, steps):
    # hostPath is not restricted's; capabilities for RDMA neither.
    release = Release(cluster, "big", "gpu", "-f", VALUES / "gpu.yaml", restricted=False)
    cluster.apply(*WEIGHTS)
    with steps.step("gpus") as said:
        release.install()

        def running():
            pods = {component: release.pods(component) for component in ("router", "prefill", "decode")}
            waiting = [f"{pod['metadata']['name']}: {why(pod)}" for each in pods.values() for pod in each
                       if pod["status"]["phase"] != "Running"]
            if waiting:
                raise Failed("; ".join(waiting))
            return {name: [pod["spec"]["nodeName"] for pod in each] for name, each in pods.items()}
        where = wait_for(lambda: (found := running()) and all(found.values()) and found, 30, "all of it runs")
        workers = where["prefill"] + where["decode"]
        if not all("gpu" in node for node in workers) or any("gpu" in node for node in where["router"]):
            raise Failed(f"{where}")
        if max(collections.Counter(workers).values()) > 4:
            raise Failed(f"more than 8 GPUs of one node: {where}")
        said(f"6 workers with 2 GPUs and RDMA each on {len(set(workers))} GPU nodes, routers elsewhere")
        release.uninstall()


def why(pod):
    conditions = pod["status"].get("conditions", [])
    return next((each.get("message", "") for each in conditions if each["status"] == "False"), pod["status"]["phase"])


def every_kind(cluster, steps):
    """Each set of values that tests/chart renders is taken by the API server, as are the types of others."""
    releases = []
    for values in sorted(VALUES.glob("*.yaml")):
        if values.stem == "gpu":
            continue
        with steps.step(f"values-{values.stem}") as said:
            release = Release(cluster, "any", f"values-{values.stem}", "-f", values)
            releases.append(release)
            release.install()
            kinds = collections.Counter(each.split()[0] for each in release.left())
            # What controllers make of a Deployment or Service is theirs.
            said(", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())
                           if kind not in ("Pod", "ReplicaSet", "Endpoints", "EndpointSlice")))
    with steps.step("values-removed") as said:
        for release in releases:
            release.helm("uninstall", release.name)
        for release in releases:
            release.nothing_is_left()
        said(f"nothing is left of {len(releases)} releases")


def upgraded(release, steps):
    pools = ("router", "prefill", "decode")
    before = {pool: release.template(pool) for pool in pools}
    keys = release.cluster.get_one("secret", "chat-baton-worker-tls", "-n", "chat")["data"]
    with steps.step("upgrade") as said:
        release.upgrade("--set", "decode.config.kv_memory=512MiB", "--wait", "--timeout", "5m")
        release.rolled_out(*pools)
        after = {pool: release.template(pool) for pool in pools}
        changed = [pool for pool in pools if before[pool] != after[pool]]
        if changed != ["decode"]:
            raise Failed(f"an option of decode rolls {changed}")
        if release.cluster.get_one("secret", "chat-baton-worker-tls", "-n", "chat")["data"] != keys:
            raise Failed("certificates are others after an upgrade")
        said("an option of decode rolls decode alone; certificates stay")
    with steps.step("rollback") as said:
        release.helm("rollback", release.name, "--wait", "--timeout", "5m")
        release.rolled_out(*pools)
        if {pool: release.template(pool) for pool in pools} != before:
            raise Failed("other pods than before the upgrade")
        said("the same pods as before the upgrade")


def scaled(cluster, steps, ending):
    """The arithmetic is the real controller's; what it asks, and whether the API server knows the way there, is ours."""
    def names(namespace, selector):
        return [pod["metadata"]["name"] for pod in cluster.get("pods", "-n", namespace, "-l", selector)]

    metrics = PodMetrics(cluster.credentials, names)
    ending.callback(metrics.close)
    metrics.values["baton_sequences"] = 0
    release = Release(cluster, "busy", "busy")
    with steps.step("autoscaler") as said:
        cluster.apply(*metrics.objects())
        cluster.kubectl("wait", "--for=condition=Available", "apiservice/v1beta2.custom.metrics.k8s.io", "--timeout=30s")
        release.install("--set", "decode.replicas=3", "--wait", "--timeout", "5m")
        release.settings = ("--set", "decode.autoscaling.by=hpa,decode.autoscaling.maxReplicas=6,decode.autoscaling.target=32")
        before = release.template("decode")
        release.upgrade("--wait", "--timeout", "5m")
        if (size(release), release.template("decode")) != (3, before):
            raise Failed(f"3 → {size(release)} workers")
        said("a pool of three is given to an autoscaler, and is one of three")
    with steps.step("hpa") as said:
        for sequences, workers in ((40, 4), (100, 6)):
            metrics.values["baton_sequences"] = sequences
            wait_for(lambda: size(release) != 3 and size(release) == workers, 45,
                     lambda: f"{workers}; {size(release)}: " + cluster.kubectl("describe", "hpa", "-n", "busy")[-800:])
        said("with a target of 32, 40 sequences at each of three workers: 3 → 4; 100 at each: 6, which is the most allowed")
        release.uninstall()
        release.nothing_is_left()


def size(release):
    return release.deployment("decode")["spec"]["replicas"]


def removed(release, steps):
    with steps.step("uninstall") as said:
        release.uninstall()
        release.nothing_is_left()
        said("nothing is left in the namespace, of any kind that the API server knows")


if __name__ == "__main__":
    sys.exit(run_steps(main)[0])
