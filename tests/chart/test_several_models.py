"""A release that joins the routers of another one: the two fit together."""
import subprocess

import pytest
from render import BIN, SOURCE, Objects, selected, template

CODER = ('joins="chat"', 'model={"name": "qwen-coder", "source": "hostPath", "hostPath": {"path": "/models/coder"}}',
         "networkPolicy.egress.restricted=true", "planner.enabled=true", 'decode.autoscaling.by="keda"')
CHAT = ('router.alsoServes=[{"release": "coder", "name": "qwen-coder", "source": "hostPath", "hostPath": {"path": "/models/coder"}}]',
        'networkPolicy.clients=[{"podSelector": {}}]', "networkPolicy.egress.restricted=true")


@pytest.fixture
def release(needs_helm):
    def rendered(name, settings):
        done = template(*(word for each in settings for word in ("--set-json", each)), release=name)
        assert done.returncode == 0, done.stderr
        return Objects(done.stdout)
    return rendered


def told(objects, name):
    import yaml
    return yaml.safe_load(objects.one("ConfigMap", name)["data"]["cluster.yaml"])


def admitted(objects, policy, port):
    """The labels of the pods that a policy lets in by this port, or by any."""
    rules = objects.one("NetworkPolicy", policy)["spec"]["ingress"]
    return [peer["podSelector"]["matchLabels"] for rule in rules for peer in rule.get("from", [])
            if peer["podSelector"] and port in [each["port"] for each in rule.get("ports", [{"port": port}])]]


def test_the_joined_pools_dial_the_others_routers_and_have_none(release):
    coder = release("coder", CODER)
    assert not [each["metadata"]["name"] for each in coder if "router" in each["metadata"]["name"]]
    for role in ("prefill", "decode"):
        options = told(coder, f"coder-baton-{role}")
        assert options[role]["routers"] == "chat-baton-router-peers.serving.svc:9000"
        assert options["model"]["name"] == "qwen-coder"
    plan = told(coder, "coder-baton-planner")["planner"]
    assert (plan["routers"], plan["model"]) == ("chat-baton-router-peers.serving.svc:8000", "qwen-coder")
    service = release("chat", CHAT).one("Service", "chat-baton-router-peers")
    assert service["spec"]["publishNotReadyAddresses"]


def test_the_routers_know_the_joined_model_and_read_its_tokenizer(release):
    chat = release("chat", CHAT)
    folder = told(chat, "chat-baton-router")["router"]["models"]["qwen-coder"]
    pod = chat.one("Deployment", "chat-baton-router")["spec"]["template"]["spec"]
    mount, = [each for each in pod["containers"][0]["volumeMounts"] if each["mountPath"] == folder]
    volume, = [each for each in pod["volumes"] if each["name"] == mount["name"]]
    assert volume["hostPath"]["path"] == "/models/coder" and mount["readOnly"]
    for role in ("prefill", "decode"):
        workers = chat.one("Deployment", f"chat-baton-{role}")["spec"]["template"]["spec"]
        assert not [each for each in workers["volumes"] if each["name"] == mount["name"]], "only routers need it"


def test_network_policies_let_the_two_releases_meet(release):
    chat, coder = release("chat", CHAT), release("coder", CODER)
    for role in ("prefill", "decode"):
        worker, = selected(coder, coder.one("NetworkPolicy", f"coder-baton-{role}")["spec"]["podSelector"])
        assert worker["metadata"]["labels"] in admitted(chat, "chat-baton-router", "grpc")
        assert chat.one("Deployment", "chat-baton-router")["spec"]["template"]["metadata"]["labels"] in \
            admitted(coder, f"coder-baton-{role}", "grpc")
    planner = coder.one("Deployment", "coder-baton-planner")["spec"]["template"]["metadata"]["labels"]
    assert planner in admitted(chat, "chat-baton-router", "http")


def test_the_programs_accept_both_releases_files(release, tmp_path):
    if not (BIN / "baton").exists():
        pytest.skip(f"no {BIN / 'baton'}: tests/run.sh unit builds it")
    chat, coder = release("chat", CHAT), release("coder", CODER)
    for objects, name in ((chat, "chat-baton-router"), (coder, "coder-baton-decode"), (coder, "coder-baton-planner")):
        file = tmp_path / f"{name}.yaml"
        file.write_text(objects.one("ConfigMap", name)["data"]["cluster.yaml"])
        done = subprocess.run([BIN / "baton", "check", "--config", file, "--model", SOURCE / "models/baton-demo"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{name}: {done.stderr}"


def test_helm_test_asks_the_others_routers_for_the_joined_model(release):
    pod = release("coder", CODER).one("Pod", "coder-baton-chat")["spec"]["containers"][0]
    assert "--grpc=chat-baton-router-peers.serving.svc:9000" in pod["args"] and "--model=qwen-coder" in pod["args"]
