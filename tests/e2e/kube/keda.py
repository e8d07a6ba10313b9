"""KEDA in the cluster, from its own manifests, asks Baton's planner how large the pools are to be."""
import json
import pathlib
import shutil
import subprocess

import images
from load import Load, now
from steps import Failed, wait_for

SOURCE = pathlib.Path(__file__).resolve().parents[3]
TOOLS = SOURCE / "tests/e2e/kube/tools.sh"
# What of KEDA is installed: all but its admission webhooks, which are not built.
PARTS = ("crd", "general", "rbac", "manager", "metrics-server", "service_account")
IMAGES = {"keda": "ghcr.io/kedacore/keda", "keda-adapter": "ghcr.io/kedacore/keda-metrics-apiserver"}
METRICS = "/apis/external.metrics.k8s.io/v1beta1/namespaces"
# A worker that holds eight sequences is full soon; the planner's minutes are seconds. How long steps take on a machine
# that computes everything itself is no reason for another worker here: places are.
SCALED = {"planner": {"enabled": True, "config": {"cool_down": "20s", "recent": "5s", "steady": "10s", "interval": "2s",
                                                  "itl_target": "10s", "ttft_target": "60s"}},
          "prefill": {"autoscaling": {"by": "keda", "minReplicas": 1, "maxReplicas": 2}},
          "decode": {"replicas": 1, "config": {"batch_sequences_max": 8},
                     "autoscaling": {"by": "keda", "minReplicas": 1, "maxReplicas": 3}}}
# Who waits for a pool to start is patient.
ASLEEP = {"planner": {"enabled": True}, "decode": {"autoscaling": {"minReplicas": 0}}, "router": {"config": {"queue_wait_max": "2m"}}}
CLIENTS = 16


class Keda:
    """The steps, in their order; `folder` is for what they write."""

    def __init__(self, cluster, release, door, steps, folder, ending):
        self.cluster, self.control, self.release, self.door = cluster, cluster.control, release, door
        self.steps, self.folder, self.ending, self.load = steps, folder, ending, None

    def scale(self):
        """1 → 3 → 1, as clients come and go. False: without KEDA nothing of it was tried."""
        found = subprocess.run([TOOLS, "--path", "keda"], capture_output=True, text=True)
        if found.returncode != 0:
            self.steps.skip("keda", found.stderr.strip().removeprefix("tools.sh: "))
            return False
        with self.steps.step("keda-install", needed=True) as said:
            self.install(pathlib.Path(found.stdout.strip()))
            said("KEDA's operator and metrics server, from its own manifests")
        with self.steps.step("keda-adopt", needed=True) as said:
            # Who asks again at once takes all there is, of however many workers; these leave most of one alone.
            self.load = Load(self.cluster.nodes[0], self.door, tokens=48, pause=2)
            self.ending.callback(self.load.stop)
            began = now()
            self.release.upgrade_with(self.folder, "scaled", SCALED)
            self.release.rolled_out("planner")
            self.until(1, 180)
            said(f"`planner.enabled`, both pools `by: keda`, in a running release: KEDA asks the planner by TLS, the planner asks "
                 f"the routers by HTTPS with a key; {self.metrics('baton')}; decode goes to what 6 calm clients need, 2 → 1; "
                 f"{self.load.none_failed(began)}")
        with self.steps.step("keda-up") as said:
            began = now()
            more = Load(self.cluster.nodes[0], self.door, clients=CLIENTS)
            try:
                self.until(3, 180)
                asked = now() - began
                self.release.rolled_out("decode")
                said(f"{CLIENTS} more clients that ask at once: 1 → 3 decode workers, asked for after {asked:.0f} s, ready after "
                     f"{now() - began:.0f} s; {self.load.none_failed(began)}; of the new clients, {more.none_failed(began)}")
            finally:
                more.stop()
        with self.steps.step("keda-down") as said:
            began = now()
            self.until(1, 300)
            asked = now() - began
            wait_for(lambda: len(self.release.pods("decode")) == 1, 120, "one decode worker is left")
            said(f"they have gone: 3 → 1 after {asked:.0f} s; {self.load.none_failed(began)}")
        return True

    def by_prometheus(self, address):
        """The same pools without a planner: what KEDA then asks of Prometheus has answers."""
        with self.steps.step("keda-prometheus") as said:
            began = now()
            self.release.upgrade_with(self.folder, "by-prometheus", {
                "planner": {"enabled": False}, "monitoring": {"prometheusAddress": address}})
            metrics = wait_for(lambda: self.metrics("prometheus"), 90, self.told)
            said(f"`planner.enabled: false`, `monitoring.prometheusAddress`: KEDA asks Prometheus; {metrics}; "
                 f"{self.load.none_failed(began)}")

    def sleep(self):
        """Down to nothing, and back for one request. Nobody else may ask."""
        with self.steps.step("keda-sleep", needed=True) as said:
            self.release.upgrade_with(self.folder, "asleep", ASLEEP)
            began = now()
            self.load.stop()
            self.until(0, 180)
            asked = now() - began
            wait_for(lambda: not self.release.pods("decode"), 120, "no decode worker is left")
            said(f"`decode.autoscaling.minReplicas: 0` and nobody asks: 1 → 0 after {asked:.0f} s")
        with self.steps.step("keda-wake") as said:
            began = now()
            self.ask(150)
            said(f"one request, with no worker there: it waited in a router, woke the pool, 0 → {self.size()}, and was answered "
                 f"after {now() - began:.0f} s")
        with self.steps.step("keda-wake-anew") as said:
            self.until(0, 180)
            wait_for(lambda: not self.release.pods("decode"), 120, "no decode worker is left")
            self.control.kubectl("-n", self.release.namespace, "rollout", "restart", f"deployment/{self.release.full('router')}")
            self.release.rolled_out("router")
            began = now()
            wait_for(lambda: self.ask(60), 150, "an answer")
            said(f"routers that are replaced while the pool sleeps, and know of no worker: they are ready, turn a request away with "
                 f"503, and that woke the pool; it was answered when asked again, {now() - began:.0f} s later")

    def ask(self, seconds):
        body = {"model": "baton-demo", "max_tokens": 16, "messages": [{"role": "user", "content": "Who is there?"}]}
        answer = self.door.ask(self.cluster.nodes[0], body, seconds=seconds)
        if not answer["choices"][0]["message"]["content"]:
            raise Failed(f"an empty answer: {answer}")
        return True

    def size(self):
        return self.release.deployment("decode")["spec"]["replicas"]

    def until(self, size, seconds):
        wait_for(lambda: self.size() == size, seconds, self.told)

    def told(self):
        """Why a pool has the size it has."""
        namespace = self.release.namespace
        scaled = self.control.try_kubectl("-n", namespace, "get", "scaledobject,hpa").stdout
        planner = self.control.try_kubectl("-n", namespace, "logs", f"deployment/{self.release.full('planner')}", "--tail=3").stdout
        operator = self.control.try_kubectl("-n", "keda", "logs", "deployment/keda-operator", "--tail=3").stdout
        return f"{self.size()} decode workers; {scaled} {planner} {operator}"

    def metrics(self, by):
        """What the HPAs are told: each metric of each ScaledObject, asked of the API server as they do."""
        namespace, values = self.release.namespace, []
        for scaled in self.control.get("scaledobjects.keda.sh", "-n", namespace):
            name = scaled["metadata"]["name"]
            for metric in scaled["status"]["externalMetricNames"]:
                path = f"{METRICS}/{namespace}/{metric}?labelSelector=scaledobject.keda.sh%2Fname%3D{name}"
                value, = json.loads(self.control.kubectl("get", "--raw", path))["items"]
                values.append(f"`{metric}` is {value['value']}")
        if len(values) != 2 or not all(by in value for value in values):
            raise Failed(f"not a metric of each pool by {by}: {values}")
        return ", ".join(values)

    def install(self, tools):
        """KEDA's manifests with images of the programs that were built, on the nodes already."""
        for program, name in IMAGES.items():
            archive = images.of_program(tools / program, f"registry.test/{program}:e2e", self.folder / f"{program}.tar", user="1000")
            for node in self.cluster.nodes:
                node.take(archive)
        manifests = self.folder / "keda"
        shutil.copytree(tools / "keda-config", manifests)
        (manifests / "here").mkdir()
        now_here = [{"op": "replace", "path": "/spec/template/spec/containers/0/imagePullPolicy", "value": "Never"}]
        (manifests / "here/kustomization.yaml").write_text(json.dumps({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": [f"../{part}" for part in PARTS],
            "images": [{"name": name, "newName": f"registry.test/{program}", "newTag": "e2e"} for program, name in IMAGES.items()],
            "patches": [{"target": {"kind": "Deployment"}, "patch": json.dumps(now_here)}]}))
        self.control.kubectl("apply", "--server-side", "-f", "-", input=self.control.kubectl("kustomize", manifests / "here"))
        self.control.kubectl("-n", "keda", "wait", "--for=condition=Available", "deployment", "--all", "--timeout=180s")
        self.control.kubectl("wait", "--for=condition=Available", "apiservice/v1beta1.external.metrics.k8s.io", "--timeout=120s")
