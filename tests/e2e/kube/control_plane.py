"""A real Kubernetes control plane from an empty folder: etcd, API server, controllers, scheduler."""
import json
import pathlib
import subprocess

from credentials import Credentials
from processes import Processes, free_ports
from steps import Failed, wait_for

PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"


class ControlPlane:
    """
    On this machine's loopback, on ports that are free; or, with `inside` (a command that enters a network namespace)
    and `address`, in that namespace, where nodes reach it by its address.
    """

    def __init__(self, folder, inside=(), address="127.0.0.1", api_flags=(), controller_flags=()):
        self.folder = pathlib.Path(folder)
        self.inside, self.address = list(inside), address
        self.processes = Processes(self.folder / "logs")
        self.credentials = Credentials(self.folder / "credentials", ["127.0.0.1", FIRST_SERVICE, address])
        # In a namespace of its own any port is free.
        self.port, self.etcd, self.etcd_peers, controllers, scheduler = (
            range(16443, 16448) if inside else free_ports(5))
        self.server = f"https://{address}:{self.port}"
        self.kubeconfig = self.credentials.kubeconfig("admin", self.server)
        try:
            self._etcd()
            self._api_server(api_flags)
            self._answers()
            self._component("kube-controller-manager", "controllers", controllers, (
                "--use-service-account-credentials=true", "--allocate-node-cidrs=true", f"--cluster-cidr={PODS}",
                f"--service-cluster-ip-range={SERVICES}", f"--root-ca-file={self.credentials / 'ca.crt'}",
                f"--service-account-private-key-file={self.credentials / 'accounts.key'}", *controller_flags))
            self._component("kube-scheduler", "scheduler", scheduler)
        except BaseException:  # nobody else has it to stop it
            self.stop()
            raise

    def start(self, name, *command, env=None):
        return self.processes.start(name, *self.inside, *command, env=env)

    def _etcd(self):
        clients, peers = (f"http://127.0.0.1:{port}" for port in (self.etcd, self.etcd_peers))
        # It is thrown away in the end: nothing has to survive a power failure.
        self.start("etcd", "etcd", "--name=test", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync",
                   f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}", f"--listen-peer-urls={peers}",
                   f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=test={peers}")

    def _api_server(self, flags):
        own = self.credentials
        # Without nodes of its own network the API server is no endpoint of a Service: an address of the loopback is refused.
        endpoints = [] if self.inside else ["--endpoint-reconciler-type=none"]
        self.start(
            "kube-apiserver", "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.etcd}", f"--bind-address={self.address}",
            f"--advertise-address={self.address}", f"--secure-port={self.port}", f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC", "--allow-privileged=true", f"--client-ca-file={own / 'ca.crt'}",
            f"--tls-cert-file={own / 'apiserver.crt'}", f"--tls-private-key-file={own / 'apiserver.key'}",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={own / 'accounts.pub'}",
            f"--service-account-signing-key-file={own / 'accounts.key'}", "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={own / 'to-kubelets.crt'}", f"--kubelet-client-key={own / 'to-kubelets.key'}",
            f"--requestheader-client-ca-file={own / 'front-proxy-ca.crt'}", "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-", f"--proxy-client-cert-file={own / 'front-proxy.crt'}",
            f"--proxy-client-key-file={own / 'front-proxy.key'}", *endpoints, *flags)

    def _component(self, program, name, port, flags=()):
        kubeconfig = self.credentials.kubeconfig(name, self.server)
        self.start(program, program, f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}",
                   f"--authorization-kubeconfig={kubeconfig}", "--bind-address=127.0.0.1", f"--secure-port={port}",
                   "--leader-elect=false", *flags)

    def _answers(self):
        def ready():
            self.all_run()
            return self.try_kubectl("get", "--raw", "/readyz").stdout == "ok"
        wait_for(ready, 60, "the API server is ready")

    def all_run(self):
        if ended := self.processes.ended():
            raise Failed(f"ended: {ended}")

    def kubectl(self, *words, input=None):
        done = self.try_kubectl(*words, input=input)
        if done.returncode != 0:
            raise Failed(f"kubectl {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def try_kubectl(self, *words, input=None, seconds=300):
        return subprocess.run([*self.inside, "kubectl", f"--kubeconfig={self.kubeconfig}", *map(str, words)], input=input,
                              capture_output=True, text=True, timeout=seconds)

    def apply(self, *objects):
        self.kubectl("apply", "--server-side", "-f", "-", input="\n---\n".join(map(json.dumps, objects)))

    def get(self, *words):
        """Objects of a kind: `get("pods", "-n", "x")`."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))["items"]

    def get_one(self, *words):
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def stop(self):
        self.processes.stop()
