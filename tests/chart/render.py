"""Calls Helm, and reads what it makes."""
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
CHART = SOURCE / "helm/baton"
VALUES = sorted((pathlib.Path(__file__).parent / "values").glob("*.yaml"))
TOOLS = pathlib.Path(os.environ.get("BATON_CHART_TOOLS", "/nonexistent"))
HELM = TOOLS / "bin/helm"
BIN = pathlib.Path(os.environ.get("BATON_BIN_DIR", SOURCE / "build/release/bin"))
KUBERNETES = "1.36.0"

sys.path.append(str(TOOLS / "python"))


def helm(*arguments):
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, timeout=60)


def template(*arguments, release="demo", namespace="serving"):
    return helm("template", release, CHART, "--namespace", namespace, "--kube-version", KUBERNETES, *arguments)


class Objects(list):
    """What Helm makes of one set of values."""

    def __init__(self, text):
        import yaml
        super().__init__(each for each in yaml.safe_load_all(text) if each)

    def of(self, kind):
        return [each for each in self if each["kind"] == kind]

    def one(self, kind, name):
        found, = [each for each in self.of(kind) if each["metadata"]["name"] == name]
        return found

    def pods(self):
        """(name, pod template or pod) of everything that runs."""
        for each in self.of("Deployment"):
            yield each["metadata"]["name"], each["spec"]["template"]
        for each in self.of("Pod"):
            yield each["metadata"]["name"], each


def containers(pod):
    return pod["spec"].get("initContainers", []) + pod["spec"]["containers"]


def selected(objects, selector):
    labels = selector.get("matchLabels", selector)
    return [pod for _, pod in objects.pods() if labels.items() <= pod["metadata"]["labels"].items()]
