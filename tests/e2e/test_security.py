"""Who may speak: real processes with certificates and keys of the test's own making."""
import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

import pytest
from authority import Authority
from baton_client import Client, PermissionDenied, Sampling
from cluster import BIN, MODEL, wait_until

GOLD, FREE = "sk-gold-0123456789", "sk-free-0123456789"
ASKED = "What is a KV cache?"
QUESTION = {"model": "baton-demo", "messages": [{"role": "user", "content": ASKED}], "temperature": 0}


def free_ports(count):
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


class Cluster:
    """A router and workers, each with its log; `http` and `grpc` are the router's doors."""

    def __init__(self, folder):
        self.folder = folder
        http, grpc = free_ports(2)
        self.http, self.grpc = f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        self._running = {}

    def start(self, program, name, *flags):
        self.log_of(name).touch()
        self._running[name] = subprocess.Popen(
            [str(word) for word in (BIN / program, "--model", MODEL, *flags)], stdout=subprocess.DEVNULL,
            stderr=self.log_of(name).open("a"))
        return self._running[name]

    def router(self, *flags):
        return self.start("baton-router", "router", "--http", self.http, "--grpc", self.grpc, "--placement",
                          "always-remote", *flags)

    def worker(self, role, *flags, name=None):
        name = name or f"{role}-0"
        return self.start(f"baton-{role}-worker", name, "--router", self.grpc, "--worker-id", name, "--kv-memory", "32MiB",
                          *flags)

    def log_of(self, name):
        return self.folder / f"{name}.log"

    def says(self, name, words, patience=30):
        wait_until(lambda: words in self.log_of(name).read_text(), patience,
                   lambda: f"{words!r} of {name}:\n{self.log_of(name).read_text()}")

    def logs(self):
        return "\n".join(f"--- {name}\n{self.log_of(name).read_text()}" for name in self._running)

    def get(self, path, context=None, key=None):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        scheme = "https" if context else "http"
        request = urllib.request.Request(f"{scheme}://{self.http}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10, context=context) as reply:
            return json.load(reply)

    def attached(self, count, **how):
        def there():
            try:
                return sum(w["reachable"] for w in self.get("/debug/cluster", **how)["workers"]) == count
            except urllib.error.URLError:
                return False
        wait_until(there, 60, self.logs)

    def stop(self, name):
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def close(self):
        for name in list(self._running):
            self.stop(name)


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path / "cluster-ca")


@pytest.fixture
def secured(cluster, ca):
    """mTLS everywhere: a router and one worker of each kind."""
    cluster.router(*ca.flags("router", "router"))
    for role in ("prefill", "decode"):
        cluster.worker(role, *ca.flags(role, "worker"))
    cluster.attached(2)
    return cluster


def complete(cluster, ca, key=""):
    with Client(cluster.grpc, attempts=1, api_key=key, tls_roots=ca.ca.read_bytes(),
                tls_name="router.baton.internal") as client:
        return client.chat(ASKED, sampling=Sampling(temperature=0), timeout=30).answer()


def ask(cluster, key=None, context=None, headers=()):
    """HTTP status and body of a chat."""
    request = urllib.request.Request(f"{'https' if context else 'http'}://{cluster.http}/v1/chat/completions",
                                     data=json.dumps(QUESTION).encode(),
                                     headers={"Content-Type": "application/json", **dict(headers)})
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_cluster_with_mtls_answers_with_a_remote_prefill(secured, ca):
    answer = complete(secured, ca)
    assert answer.texts[0] and answer.started.prefill_worker.startswith("prefill-0@"), secured.logs()
    status, body = ask(secured)
    assert status == 200 and body["choices"][0]["message"]["content"], secured.logs()


def test_the_commands_pass_the_doors(secured, ca):
    tool, key = ca.issue("tool", "DNS:router.baton.internal")

    def baton(*words):
        return subprocess.run([str(word) for word in (BIN / "baton", *words)], capture_output=True, text=True, timeout=60)
    models = baton("models", "--grpc", secured.grpc, "--tls-ca", ca.ca)
    assert models.returncode == 0 and "baton-demo" in models.stdout, models.stderr
    assert baton("models", "--grpc", secured.grpc).returncode != 0
    doctor = baton("doctor", "--http", secured.http, "--json", "--tls-certificate", tool, "--tls-key", key, "--tls-ca",
                   ca.ca)
    paths = json.loads(doctor.stdout)["paths"]
    assert len(paths) == 1 and paths[0]["intact"], doctor.stdout + secured.logs()


def test_a_worker_of_another_ca_is_refused_with_a_line_on_both_sides(cluster, ca, tmp_path):
    other = Authority(tmp_path / "other-ca")
    cluster.router(*ca.flags("router", "router"))
    cluster.worker("decode", *other.flags("decode", "worker"))
    cluster.says("decode-0", "not of this side's tls_ca")
    cluster.says("decode-0", "no router has this worker")
    cluster.says("router", "the other side went away: it may not believe our certificate")
    # One that believes the router, and is not believed.
    both = other.folder / "both.crt"
    both.write_bytes(ca.ca.read_bytes() + other.ca.read_bytes())
    certificate, key = other.issue("prefill", "DNS:worker.baton.internal")
    cluster.worker("prefill", "--tls-certificate", certificate, "--tls-key", key, "--tls-ca", both)
    cluster.says("router", "not of this side's tls_ca")
    cluster.says("prefill-0", "no router has this worker")
    assert cluster.get("/debug/cluster")["workers"] == []


def test_a_router_does_not_take_a_certificate_for_another_role(cluster, ca):
    cluster.router(*ca.flags("router", "router"))
    certificate, key = ca.issue("decode", "DNS:decode-0.example.org")
    refused = cluster.worker("decode", "--tls-certificate", certificate, "--tls-key", key, "--tls-ca", ca.ca)
    assert refused.wait(30) == 78
    cluster.says("decode-0", "its DNS names (subjectAltName) must have worker.baton.internal")


def test_who_speaks_no_tls_to_a_cluster_that_does_is_told_where_to_look(secured, ca):
    secured.worker("decode", name="plain")
    secured.says("plain", "no router has this worker")
    secured.says("router", "the other side speaks no TLS")
    assert len(secured.get("/debug/cluster")["workers"]) == 2


@pytest.mark.parametrize("spoil, words", [
    (lambda ca: os.remove(ca.folder / "decode.key"), "cannot be read; is the secret mounted"),
    (lambda ca: (ca.folder / "decode.crt").write_text(""), "holds no certificate"),
    (lambda ca: shutil.copy(ca.folder / "ca.key", ca.folder / "decode.key"), "is not the key of the certificate"),
])
def test_a_bad_certificate_ends_the_start_with_one_line_that_says_what_to_do(cluster, ca, spoil, words):
    flags = ca.flags("decode", "worker")
    spoil(ca)
    assert cluster.worker("decode", *flags).wait(30) == 78
    log = cluster.log_of("decode-0").read_text()
    assert words in log and len(log.splitlines()) == 1, log


def test_renewed_certificates_are_used_without_a_restart(secured, ca, tmp_path):
    # Another CA altogether: for a while the old and the new one are both believed.
    fresh = Authority(tmp_path / "fresh-ca")
    bundle = ca.folder / "bundle.new"
    bundle.write_bytes(ca.ca.read_bytes() + fresh.ca.read_bytes())
    os.replace(bundle, ca.ca)
    for name, role in (("router", "router"), ("prefill", "worker"), ("decode", "worker")):
        for new, end in zip(fresh.issue(name, f"DNS:{role}.baton.internal"), ("crt", "key")):
            os.replace(new, ca.folder / f"{name}.{end}")

    def answers():
        try:
            return complete(secured, fresh).texts[0]
        except Exception as error:  # not yet
            return print(error)
    wait_until(answers, 30, secured.logs)
    secured.worker("decode", *fresh.flags("late", "worker")[:4], "--tls-ca", ca.ca, name="late")
    secured.attached(3)


def test_keys_are_asked_for_at_both_doors_and_say_whose_requests_they_are(cluster, ca, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"{GOLD} gold\n{FREE}\n")
    cluster.router(*ca.flags("router", "router"), "--api-keys-file", keys, "--tenants", "gold=3")
    cluster.worker("decode", *ca.flags("decode", "worker"))
    cluster.attached(1)
    assert ask(cluster)[0] == 401
    assert ask(cluster, "sk-nobody-has-this")[1]["error"]["code"] == "invalid_api_key"
    status, body = ask(cluster, FREE, headers={"X-Baton-Tenant": "gold"})
    assert status == 200
    assert cluster.get("/debug/requests/" + body["id"])["tenant"] == "default"
    with pytest.raises(PermissionDenied, match="an API key is missing"):
        complete(cluster, ca)
    assert complete(cluster, ca, GOLD).texts[0]
    # A key is taken away, another one comes.
    new = "sk-new-0123456789ab"
    (tmp_path / "keys.new").write_text(f"{GOLD} gold\n{new}\n")
    os.replace(tmp_path / "keys.new", keys)
    wait_until(lambda: ask(cluster, FREE)[0] == 401, 30, cluster.logs)
    assert ask(cluster, new)[0] == 200
    assert not any(key in cluster.logs() for key in (GOLD, FREE, new, "sk-nobody-has-this"))


def test_the_http_door_speaks_https(cluster, ca):
    certificate, key = ca.issue("door", "IP:127.0.0.1")
    cluster.router("--http-tls-certificate", certificate, "--http-tls-key", key)
    cluster.worker("decode")
    context = ssl.create_default_context(cafile=ca.ca)
    cluster.attached(1, context=context)
    assert ask(cluster, context=context)[0] == 200
    status, body = ask(cluster)
    assert status == 400 and body["error"]["code"] == "https_required"
    with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
        cluster.get("/health/live", context=ssl.create_default_context())
    why = subprocess.run([BIN / "baton", "why", "--http", cluster.http, "--http-tls-ca", ca.ca], capture_output=True,
                         text=True, timeout=30)
    assert why.returncode == 0, why.stderr


def test_an_open_door_is_said_to_be_one(cluster):
    cluster.start("baton-router", "open", "--http", "0.0.0.0:0", "--grpc", "0.0.0.0:0")
    cluster.says("open", "gRPC without TLS is open to the network")
    cluster.says("open", "HTTP without TLS and without API keys is open to the network")
    cluster.start("baton-decode-worker", "open-worker", "--grpc", "0.0.0.0:0", "--kv-memory", "16MiB")
    cluster.says("open-worker", "gRPC without TLS is open to the network")
    cluster.router()
    cluster.says("router", "listening")
    assert "open to the network" not in cluster.log_of("router").read_text()


def test_health_can_be_asked_without_a_certificate_at_a_door_of_its_own(cluster, ca):
    from test_worker_readiness import serving
    health = f"127.0.0.1:{free_ports(1)[0]}"
    cluster.router(*ca.flags("router", "router"))
    cluster.worker("decode", *ca.flags("decode", "worker"), "--health", health)
    wait_until(lambda: serving(health, ""), 30, cluster.logs)
    assert serving(health, "liveness")
