"""Nodes that are nothing but what they say: kwok keeps them ready, and says of each pod that it runs."""
import json
import pathlib
import shutil

from control_plane import PODS
from processes import free_ports
from steps import wait_for

RDMA = "rdma/hca_shared_devices_a"
GPU = "nvidia.com/gpu"


def node(name, zone, gpus=0):
    """A machine with 64 processors; with GPUs it is tainted and labelled as such nodes are."""
    amounts = {"cpu": "64", "memory": "512Gi", "pods": "110", "ephemeral-storage": "1Ti"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
              "topology.kubernetes.io/zone": zone, "topology.test/rack": f"{zone}-rack"}
    taints = []
    if gpus:
        amounts |= {GPU: str(gpus), RDMA: "8"}
        labels["node.test/pool"] = "gpu"
        taints = [{"key": GPU, "effect": "NoSchedule"}]
    return {"apiVersion": "v1", "kind": "Node", "spec": {"taints": taints}, "status": {"capacity": amounts, "allocatable": amounts},
            "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}}


def start(cluster, nodes):
    stages = pathlib.Path(shutil.which("kwok")).parent / "kwok-stages.yaml"
    port, = free_ports(1)
    cluster.start("kwok", "kwok", f"--kubeconfig={cluster.kubeconfig}", "--manage-all-nodes=true", f"--config={stages}",
                  f"--server-address=127.0.0.1:{port}", f"--cidr={PODS}")
    # Not applied: that would leave out the status, which nobody else knows.
    cluster.kubectl("create", "-f", "-", input="\n---\n".join(map(json.dumps, nodes)))

    def ready():
        cluster.all_run()
        said = [condition["status"] for each in cluster.get("nodes") for condition in each["status"].get("conditions", [])
                if condition["type"] == "Ready"]
        return said == ["True"] * len(nodes)
    wait_for(ready, 60, "every node is ready")
