"""The chart as an operator uses it: by helm, in a namespace of its own."""
import json
import os
import pathlib
import subprocess

from steps import Failed, wait_for

SOURCE = pathlib.Path(__file__).resolve().parents[3]
CHART = SOURCE / "helm/baton"
# Of every namespace, whoever lives in it.
NOT_OURS = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
PASSING = {"Event", "Lease", "PodMetrics"}


class Release:
    def __init__(self, cluster, name, namespace, *settings, restricted=True):
        self.cluster, self.name, self.namespace, self.settings = cluster, name, namespace, settings
        # What the documentation promises of the pods is asked of the API server for each.
        labels = {"pod-security.kubernetes.io/enforce": "restricted" if restricted else "privileged"}
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})

    def helm(self, *words, seconds=600):
        command = ["helm", "--kubeconfig", self.cluster.kubeconfig, "-n", self.namespace, *words]
        # Its caches are none of the user's.
        folder = self.cluster.folder / "helm"
        done = subprocess.run([*self.cluster.inside, *map(str, command)], capture_output=True, text=True, timeout=seconds,
                              env=os.environ | {"HELM_CACHE_HOME": str(folder / "cache"), "HELM_CONFIG_HOME": str(folder / "config"),
                                                "HELM_DATA_HOME": str(folder / "data")})
        if done.returncode != 0:
            raise Failed(f"helm {' '.join(map(str, words))[:200]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def install(self, *more):
        return self.helm("install", self.name, CHART, *self.settings, *more)

    def upgrade(self, *more):
        return self.helm("upgrade", self.name, CHART, *self.settings, *more)

    def upgrade_with(self, folder, name, values):
        """And every later upgrade, too."""
        file = folder / f"{name}.json"
        file.write_text(json.dumps(values))
        self.settings += ("-f", file)
        self.upgrade("--wait", "--timeout", "5m")

    def uninstall(self):
        return self.helm("uninstall", self.name, "--wait", "--timeout", "3m")

    def full(self, component):
        return f"{self.name}-baton-{component}"

    def pods(self, component=None):
        """Those that are not about to go."""
        labels = f"app.kubernetes.io/instance={self.name}"
        labels += f",app.kubernetes.io/component={component}" if component else ""
        return [pod for pod in self.cluster.get("pods", "-n", self.namespace, "-l", labels)
                if "deletionTimestamp" not in pod["metadata"]]

    def deployment(self, component):
        return self.cluster.get_one("deployment", self.full(component), "-n", self.namespace)

    def template(self, component):
        """What names the Deployment's pods: another name, other pods."""
        generation = self.deployment(component)["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
        sets = self.cluster.get("replicasets", "-n", self.namespace, "-l", f"app.kubernetes.io/component={component}")
        current, = [each for each in sets
                    if each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == generation]
        return current["metadata"]["labels"]["pod-template-hash"]

    def rolled_out(self, *components, seconds=300):
        for component in components:
            self.cluster.kubectl("-n", self.namespace, "rollout", "status", f"deployment/{self.full(component)}",
                                 f"--timeout={seconds}s")

    def why(self, identity):
        """`baton why` in the routers' pods: one of them has had the request."""
        said = []
        for pod in self.pods("router"):
            done = self.cluster.try_kubectl("-n", self.namespace, "exec", pod["metadata"]["name"], "--", "baton", "why",
                                            identity, "--json", "--http-tls-ca", "/etc/baton-https/tls.crt")
            if done.returncode == 0:
                return json.loads(done.stdout)
            said.append(done.stderr.strip())
        raise Failed(f"no router knows {identity}: {said}")

    def left(self):
        """Every object in the namespace that is there by itself, of every kind that the API server knows."""
        kinds = self.cluster.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
        kinds = [kind for kind in kinds if not kind.startswith("events") and "metrics.k8s.io" not in kind]
        found = json.loads(self.cluster.kubectl("get", ",".join(kinds), "-n", self.namespace, "-o", "json"))["items"]
        names = [(each["kind"], each["metadata"]["name"]) for each in found]
        return sorted(f"{kind} {name}" for kind, name in names if kind not in PASSING and (kind, name) not in NOT_OURS)

    def nothing_is_left(self, seconds=60):
        def gone():
            if left := self.left():
                raise Failed(", ".join(left))
            return True
        wait_for(gone, seconds, f"nothing is left in {self.namespace}")


def node_of(pod):
    return pod["spec"].get("nodeName")
