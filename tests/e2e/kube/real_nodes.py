"""Real nodes without machines: kubelet, containerd and kube-proxy, each node in a network namespace of its own."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess

from steps import Failed, wait_for

HUB_ADDRESS = "10.200.0.1"
CGROUPS = pathlib.Path("/sys/fs/cgroup")
# The kubelet sets these as it wants them, for the whole machine.
KUBELETS_SYSCTLS = ("vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops",
                    "kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes")
FIXED_FOLDERS = ("/var/log/containers", "/var/log/pods", "/var/lib/cni", "/run/containerd")
PAUSE = "registry.test/pause:1"


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, **more).stdout


def inside(namespace):
    return ["nsenter", f"--net=/run/netns/{namespace}", "--"]


class Wires:
    """A namespace for the control plane with a bridge, and one per node at it. Nothing of it leads anywhere else."""

    def __init__(self, name):
        self.hub = name
        self.namespaces = []
        self._add(self.hub)
        self._in_hub("link", "add", "nodes", "type", "bridge")
        self._in_hub("addr", "add", f"{HUB_ADDRESS}/24", "dev", "nodes")
        self._in_hub("link", "set", "nodes", "up")
        # What has no way to anywhere would not get as far as the rules that lead to Services.
        self._in_hub("route", "add", "default", "via", "10.200.0.254", "dev", "nodes")

    def node(self, number):
        """(namespace, address) of a new one; its pods are 10.244.NUMBER.0/24."""
        namespace, address, link = f"{self.hub}-{number}", f"10.200.0.{10 + number}", f"node{number}"
        self._add(namespace)
        self._in_hub("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        self._in_hub("link", "set", link, "master", "nodes", "up")
        ip = ["ip", "-n", namespace]
        run(*ip, "addr", "add", f"{address}/24", "dev", "eth0")
        run(*ip, "link", "set", "eth0", "up")
        run(*ip, "route", "add", "default", "via", HUB_ADDRESS)
        for other in range(1, number):
            run(*ip, "route", "add", f"10.244.{other}.0/24", "via", f"10.200.0.{10 + other}")
            run("ip", "-n", f"{self.hub}-{other}", "route", "add", f"10.244.{number}.0/24", "via", address)
        self._in_hub("route", "add", f"10.244.{number}.0/24", "via", address)
        return namespace, address

    def cut(self, number):
        self._in_hub("link", "set", f"node{number}", "down")

    def mend(self, number):
        self._in_hub("link", "set", f"node{number}", "up")

    def _add(self, namespace):
        run("ip", "netns", "add", namespace)
        self.namespaces.append(namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        run(*inside(namespace), "sysctl", "-qw", "net.ipv4.ip_forward=1")

    def _in_hub(self, *words):
        run("ip", "-n", self.hub, *words)

    def close(self):
        for namespace in self.namespaces[::-1]:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)


class Node:
    def __init__(self, cluster, wires, number):
        self.cluster, self.number, self.name = cluster, number, f"node-{number}"
        self.namespace, self.address = wires.node(number)
        self.inside = inside(self.namespace)
        self.cgroup = f"{wires.hub}-{number}"
        self.folder = cluster.folder / self.name
        for name in ("containerd", "cni", "kubelet", "pods", "plugins"):
            (self.folder / name).mkdir(parents=True)
        self.socket = self.folder / "containerd.sock"
        self.kubelet = f"kubelet-{number}"
        # So that packets from pod to pod by way of a Service come back by the same way.
        subprocess.run([*self.inside, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"], capture_output=True)
        self._cgroups()
        self._containerd()

    def start(self, name, *command):
        self.cluster.processes.start(name, *self.inside, *command)

    def ctr(self, *words):
        return run("ctr", "-a", self.socket, "-n", "k8s.io", *words)

    def _cgroups(self):
        """A root for the kubelet in every hierarchy; a cpuset is nothing until it is told what it has."""
        for hierarchy in hierarchies():
            (hierarchy / self.cgroup).mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (hierarchy / name).exists() and hierarchy.name == "cpuset":
                    (hierarchy / self.cgroup / name).write_text((hierarchy / name).read_text())

    def _containerd(self):
        config = self.folder / "containerd.toml"
        plugins = pathlib.Path(shutil.which("kubelet")).parent / "cni"
        config.write_text(CONTAINERD.format(folder=self.folder, socket=self.socket, pause=PAUSE, cni=plugins))
        network = {"cniVersion": "0.4.0", "name": "pods", "plugins": [{
            "type": "bridge", "bridge": "pods", "isDefaultGateway": True, "hairpinMode": True,
            "ipam": {"type": "host-local", "dataDir": str(self.folder / "cni-leases"),
                     "ranges": [[{"subnet": f"10.244.{self.number}.0/24"}]]}}]}
        (self.folder / "cni/pods.conflist").write_text(json.dumps(network))
        self.start(f"containerd-{self.number}", "containerd", "-c", config)
        wait_for(lambda: subprocess.run(["ctr", "-a", self.socket, "version"], capture_output=True).returncode == 0, 30,
                 lambda: f"containerd answers: {self.cluster.processes.last_words(f'containerd-{self.number}')}")

    def take(self, archive):
        """Puts an image onto the node."""
        self.ctr("images", "import", archive)

    def join(self):
        own = self.cluster.credentials
        own.issue(self.name, f"/O=system:nodes/CN=system:node:{self.name}", [f"DNS:{self.name}", f"IP:{self.address}"])
        kubeconfig = own.kubeconfig(self.name, self.cluster.server)
        config = self._write("kubelet.json", kubelet(self, own))
        files = self.folder / "kubelet"
        self.start(self.kubelet, "kubelet", f"--config={config}", f"--kubeconfig={kubeconfig}", f"--root-dir={files}",
                   f"--cert-dir={files}", f"--hostname-override={self.name}", f"--node-ip={self.address}")
        proxy = self._write("proxy.json", {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "nftables",
            "clusterCIDR": "10.244.0.0/16", "hostnameOverride": self.name, "oomScoreAdj": 0, "bindAddress": self.address,
            "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249",
            "clientConnection": {"kubeconfig": str(own.kubeconfig("proxy", self.cluster.server))},
            # Not for a namespace to say.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}})
        self.start(f"kube-proxy-{self.number}", "kube-proxy", f"--config={proxy}")

    def _write(self, name, value):
        path = self.folder / name
        path.write_text(json.dumps(value))
        return path

    def process(self, pod):
        """Of the worker in this pod; workers are told their pod's name."""
        words = f"--worker-id\0{pod}\0".encode()
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if words in path.read_bytes():
                    return int(path.parent.name)
        raise Failed(f"no process of {pod}")

    def clear(self):
        """What a kubelet that is gone has left: containers and their networks, mounts, links to logs, cgroups."""
        for network in self._pod_networks():
            subprocess.run(["ip", "netns", "del", network], capture_output=True)
        for kind, force in (("tasks", ["-f"]), ("containers", [])):
            with contextlib.suppress(subprocess.CalledProcessError):
                for name in self.ctr(kind, "ls", "-q").split():
                    self.ctr(kind, "rm", *force, name)
        self.cluster.processes.stop(f"containerd-{self.number}")
        mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((each for each in mounts if each.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "-l", mount], capture_output=True)
        for link in pathlib.Path("/var/log/containers").glob("*"):
            if link.is_symlink() and os.readlink(link).startswith(f"{self.folder}/"):
                link.unlink()
        for hierarchy in hierarchies():
            remove_cgroups(hierarchy / self.cgroup)


    def _pod_networks(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            for name in self.ctr("containers", "ls", "-q").split():
                for each in json.loads(self.ctr("containers", "info", name))["Spec"]["linux"]["namespaces"]:
                    if each["type"] == "network" and "/cni-" in each.get("path", ""):
                        yield pathlib.Path(each["path"]).name


def remove_cgroups(top):
    """Each is removed when what was in it has ended."""
    def gone():
        for folder, _, _ in os.walk(top, topdown=False):
            for name in pathlib.Path(folder, "cgroup.procs").read_text().split() if os.path.exists(folder) else []:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(name), 9)
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not top.exists()
    with contextlib.suppress(Failed):
        wait_for(gone, 10, f"{top} is removed")


def hierarchies():
    """Cgroups of version 1 have one for each controller, those of version 2 one for all."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [each for each in CGROUPS.iterdir() if not each.is_symlink() and (each / "cgroup.procs").exists()]


@contextlib.contextmanager
def the_machine_as_before():
    """Kernel settings, and folders that are made where no option says otherwise, when it is over."""
    settings = {name: run("sysctl", "-n", name).strip() for name in KUBELETS_SYSCTLS}
    folders = [folder for folder in FIXED_FOLDERS if not os.path.exists(folder)]
    try:
        yield
    finally:
        for name, value in settings.items():
            subprocess.run(["sysctl", "-qw", f"{name}={value}"], capture_output=True)
        for folder in folders:
            for path, _, _ in os.walk(folder, topdown=False):
                with contextlib.suppress(OSError):  # somebody else's by now
                    os.rmdir(path)


CONTAINERD = """version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{folder}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{folder}/cni"
"""


def kubelet(node, own):
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "address": node.address,
        "failCgroupV1": False, "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{node.cgroup}", "enforceNodeAllocatable": [],
        "failSwapOn": False, "oomScoreAdj": 0, "readOnlyPort": 0, "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False},
                           "x509": {"clientCAFile": str(own / "ca.crt")}},
        "authorization": {"mode": "AlwaysAllow"}, "tlsCertFile": str(own / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(own / f"{node.name}.key"), "clusterDNS": [HUB_ADDRESS], "clusterDomain": "cluster.local",
        "resolvConf": str(node.cluster.folder / "resolv.conf"), "containerRuntimeEndpoint": f"unix://{node.socket}",
        "volumePluginDir": str(node.folder / "plugins"), "podLogsDir": str(node.folder / "pods"),
        "imageGCHighThresholdPercent": 100, "nodeStatusUpdateFrequency": "5s", "syncFrequency": "10s",
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"}}


def names(cluster):
    """CoreDNS, outside of the cluster as all that belongs to it here."""
    (cluster.folder / "resolv.conf").write_text(f"nameserver {HUB_ADDRESS}\n")
    corefile = cluster.folder / "Corefile"
    corefile.write_text(f""".:53 {{
  bind {HUB_ADDRESS}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {cluster.kubeconfig} test
    ttl 5
  }}
}}
""")
    cluster.start("coredns", "coredns", "-conf", corefile)
