"""The chart's pods, run as their specs say: they find each other, serve, hand KV over, and leave without a lost request."""
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from cluster import SOURCE, wait_until
from pods import Network, Pod

# Chats, six at a time, one line for each answer, until standard input ends: what asks is never done too early.
CHATS = r"""
import json, sys, threading, urllib.request
url, over, printing = sys.argv[1], threading.Event(), threading.Lock()
def chat(number):
    body = json.dumps({"model": "baton-demo", "max_tokens": 48, "messages": [{"role": "user", "content": f"{number}: what is prefill?"}]})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"}), timeout=60) as answer:
            return bool(json.load(answer)["choices"][0]["message"]["content"])
    except Exception as error:
        return str(error)
def chats(first):
    while not over.is_set():
        said = json.dumps(chat(first))
        first += 6
        with printing:
            print(said, flush=True)
threads = [threading.Thread(target=chats, args=(first,)) for first in range(6)]
for thread in threads:
    thread.start()
sys.stdin.read()
over.set()
"""


@pytest.fixture(scope="module")
def chart():
    """tests/chart's way to Helm, where its tools are there."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("pods' networks take root and iproute2")
    tools = subprocess.run([SOURCE / "tests/chart/tools.sh", "--within", "1"], capture_output=True, text=True)
    if tools.returncode != 0:
        pytest.skip("no Helm: tests/chart/tools.sh brings it")
    os.environ["BATON_CHART_TOOLS"] = tools.stdout.strip()
    spec = importlib.util.spec_from_file_location("render", SOURCE / "tests/chart/render.py")
    render = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(render)
    return render


SMALL = ('router.config={"placement": "always-remote"}', 'decode.config={"kv_memory": "64MiB", "context_tokens_max": 512}')


@pytest.fixture
def pods(chart, image, tmp_path):
    """Starts pods of the chart's release by name; they end with the test."""
    def rendered(settings):
        done = chart.template(*(word for setting in settings for word in ("--set-json", setting)))
        assert done.returncode == 0, done.stderr
        return chart.Objects(done.stdout)

    root = image.unpack(tmp_path / "root")
    for folder in (tmp_path, root):
        folder.chmod(0o755)  # pytest's folders are closed to others
    (root / "etc/baton").mkdir()
    (root / "etc/hosts").touch()
    environment = dict(value.split("=", 1) for value in image.config["config"]["Env"])
    network = Network(f"baton{os.getpid()}")
    started = []

    def start(component, name, settings=SMALL):
        objects = rendered(settings)
        if component == "test":
            template, config = dict(objects.pods())["demo-baton-chat"], None
        else:
            template = objects.one("Deployment", f"demo-baton-{component}")["spec"]["template"]
            config = objects.one("ConfigMap", f"demo-baton-{component}")["data"]["cluster.yaml"]
        hosts = [("10.77.0.10", "demo-baton-router-peers.serving.svc")]  # what the cluster's DNS would say
        pod = Pod(tmp_path / "pods", network, 10 + len(started), name, template["spec"], config, hosts, root, environment)
        started.append(pod)
        return pod

    yield start
    for pod in started:
        pod.stop()
    network.close()


def started(pod):
    def ready():
        assert pod.process.poll() is None, pod.log.read_text()
        return pod.probe("startupProbe") and pod.probe("readinessProbe")
    wait_until(ready, 60, lambda: pod.log.read_text())
    return pod


def test_they_meet_serve_and_leave_without_a_lost_request(pods):
    router = pods("router", "router-0")
    wait_until(lambda: router.probe("startupProbe"), 30, lambda: router.log.read_text())
    assert not router.probe("readinessProbe"), "ready without a decode worker"
    prefill = pods("prefill", "prefill-0")
    decodes = [pods("decode", f"decode-{number}") for number in range(2)]
    for pod in (prefill, *decodes, router):
        started(pod)
    hub = router.network

    def workers():
        page = json.loads(hub.get(f"http://{router.address}:8000/debug/cluster"))
        return {each["id"].split("@")[0]: each for each in page["workers"]}
    wait_until(lambda: set(workers()) == {"prefill-0", "decode-0", "decode-1"}, 30, workers)

    asking = pods("test", "chat")
    assert asking.process.wait(timeout=60) == 0, asking.log.read_text()
    arrived = "".join(hub.get(f"http://{pod.address}:9400/metrics") for pod in decodes)
    assert re.search(r'^baton_kv_transfers_total\{.*outcome="completed".*\} [1-9]', arrived, re.M), "KV goes from pod to pod"

    chats = subprocess.Popen(["ip", "netns", "exec", hub.hub, sys.executable, "-c", CHATS,
                              f"http://{router.address}:8000/v1/chat/completions"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def answered(count):
        return [json.loads(chats.stdout.readline()) for _ in range(count)]
    answers = answered(10)
    decodes[0].terminate()
    assert decodes[0].process.wait(timeout=decodes[0].grace_seconds) == 0, decodes[0].log.read_text()
    answers += answered(10)
    chats.stdin.close()
    answers += [json.loads(line) for line in chats.stdout]
    assert chats.wait(timeout=60) == 0
    assert answers == [True] * len(answers)

    router.terminate()
    assert router.process.wait(timeout=router.grace_seconds) == 0, router.log.read_text()


@pytest.mark.parametrize("component", ["router", "prefill", "decode"])
def test_a_model_that_is_not_there_is_said_in_one_line(component, pods):
    pod = pods(component, f"{component}-0", ['model={"source": "hostPath", "name": "x", "hostPath": {"path": "/srv/x"}}'])
    assert pod.process.wait(timeout=30) == 78, pod.log.read_text()
    line, = pod.log.read_text().splitlines()
    assert "--model /model: there is no such folder" in line
