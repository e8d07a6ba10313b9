"""Runs the chart's pods without Kubernetes: each in namespaces of its own, from the image's files, as its spec says."""
import os
import pathlib
import shutil
import subprocess
import sys

# What a kubelet and its runtime do for a pod: a read-only root, mounts, and the program as process 1 of its namespaces.
START = """
set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mount --bind "$POD/hosts" "$ROOT/etc/hosts"
mount --bind "$POD/config" "$ROOT/etc/baton"
mount -o remount,ro,bind "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /sys "$ROOT/sys"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
exec env -i "$@"
"""
GET = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=3).read().decode())"
HEALTH = r"""
import sys, grpc
name = sys.argv[2].encode()
call = grpc.insecure_channel(sys.argv[1]).unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes,
                                                      response_deserializer=bytes)
try:
    print(call(b"\x0a" + bytes([len(name)]) + name if name else b"", timeout=3) == b"\x08\x01")
except grpc.RpcError:
    print(False)
"""


def run(*command, **more):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, **more).stdout


class Network:
    """A bridge in a namespace of its own, and a namespace per pod: nothing of it touches the machine's network."""

    def __init__(self, name):
        self.hub = f"{name}-hub"
        self.namespaces = []
        self.add(self.hub)
        self.inside("ip", "link", "add", "pods", "type", "bridge")
        self.inside("ip", "addr", "add", "10.77.0.1/24", "dev", "pods")
        self.inside("ip", "link", "set", "pods", "up")

    def add(self, namespace):
        run("ip", "netns", "add", namespace)
        self.namespaces.append(namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")

    def join(self, number):
        """(namespace, address) of a new pod."""
        namespace, address, link = f"{self.hub}-{number}", f"10.77.0.{number}", f"pod{number}"
        self.add(namespace)
        self.inside("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        self.inside("ip", "link", "set", link, "master", "pods", "up")
        run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
        return namespace, address

    def inside(self, *command, **more):
        """Runs something that reaches the pods."""
        return run("ip", "netns", "exec", self.hub, *command, **more)

    def get(self, url):
        return self.inside(sys.executable, "-c", GET, url)

    def serving(self, address, probe):
        """Whether the pod's probe succeeds."""
        if "grpc" in probe:
            said = self.inside(sys.executable, "-c", HEALTH, f"{address}:{probe['grpc']['port']}",
                               probe["grpc"].get("service", ""))
            return said.strip() == "True"
        try:
            return bool(self.get(f"http://{address}:8000{probe['httpGet']['path']}"))
        except subprocess.CalledProcessError:
            return False

    def close(self):
        for namespace in self.namespaces:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)


class Pod:
    """One container of a pod's spec, started from the image's root folder."""

    def __init__(self, folder, network, number, name, spec, config, hosts, root, environment):
        self.name, self.network = name, network
        self.container, = spec["containers"]
        self.grace_seconds = spec.get("terminationGracePeriodSeconds", 30)
        namespace, self.address = network.join(number)
        folder = pathlib.Path(folder) / name
        (folder / "config").mkdir(parents=True)
        if config:
            (folder / "config/cluster.yaml").write_text(config)
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{ip} {host}\n" for ip, host in hosts))
        self.log = folder / "log"
        variables = {**environment, **dict(self.variables())}
        words = [self.expand(word, variables) for word in self.container["command"] + self.container.get("args", [])]
        user = spec["securityContext"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", namespace, "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child",
                 "bash", "-c", START, "start", *(f"{key}={value}" for key, value in variables.items()),
                 shutil.which("chroot", path="/usr/sbin:/usr/bin"), f"--userspec={user['runAsUser']}:{user['runAsGroup']}",
                 str(root), f"{environment['PATH']}/{words[0]}", *words[1:]],
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "ROOT": str(root), "POD": str(folder)})

    def variables(self):
        for each in self.container.get("env", []):
            if "value" in each:
                yield each["name"], each["value"]
            elif "fieldRef" in each["valueFrom"]:
                yield each["name"], {"metadata.name": self.name, "status.podIP": self.address}[
                    each["valueFrom"]["fieldRef"]["fieldPath"]]
            else:
                yield each["name"], "1"  # a processor

    @staticmethod
    def expand(word, variables):
        for key, value in variables.items():
            word = word.replace(f"$({key})", value)
        return word

    def probe(self, kind):
        return self.network.serving(self.address, self.container[kind])

    def terminate(self, how="TERM"):
        """A signal to process 1, as at the end of a pod."""
        subprocess.run(["pkill", f"-{how}", "-P", str(self.process.pid)])

    def stop(self):
        # Not the process that waits for it alone: a change of user makes its death go unnoticed.
        if self.process.poll() is None:
            self.terminate("KILL")
        self.process.wait(timeout=30)
