"""A real Jaeger is asked for the trace of a request whose prompt another worker computed."""
import json
import os
import pathlib
import secrets
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from cluster import SOURCE, Up, wait_until
from trace_tree import REMOTE_PREFILL, Tree, tags

HERE = pathlib.Path(__file__).resolve().parent
BUILD = "tools/observe/build_jaeger.sh"
JAEGER = pathlib.Path(subprocess.run([SOURCE / BUILD, "--path"], capture_output=True, text=True, check=True).stdout.strip())
pytestmark = pytest.mark.skipif(not JAEGER.exists(), reason=f"no Jaeger in the cache: {BUILD} builds one in a few minutes")

PORTS = ("JAEGER_QUERY_HTTP", "JAEGER_QUERY_GRPC", "JAEGER_OTLP_GRPC", "JAEGER_OTLP_HTTP")


def free_ports(count):
    """Nobody holds them when they are named; others of this machine rarely take one meanwhile."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Jaeger:
    def __init__(self, log):
        self.ports = dict(zip(PORTS, free_ports(len(PORTS))))
        self.process = subprocess.Popen([JAEGER, "--config", HERE / "jaeger.yaml"], stdout=log, stderr=log,
                                        env=os.environ | self.ports)
        wait_until(lambda: self.process.poll() is not None or self.get("/api/services") is not None, 20, "Jaeger is up")
        assert self.process.poll() is None, "Jaeger ended"

    def get(self, path):
        """What it answers; None while it has nothing, or is not there yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['JAEGER_QUERY_HTTP']}{path}", timeout=5) as page:
                return json.load(page)
        except (urllib.error.URLError, ConnectionError):
            return None

    def trace(self, trace):
        return wait_until(lambda: self.get(f"/api/traces/{trace}"), 20, f"trace {trace}")["data"][0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()  # how long it takes to end well is not our claim
        self.process.wait()


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory):
    with open(tmp_path_factory.mktemp("jaeger") / "log", "wb") as log, Jaeger(log) as jaeger:
        yield jaeger


def ask(up, trace):
    body = {"model": "baton-demo", "prompt": secrets.token_hex(8) + " What is a KV cache? " * 8, "max_tokens": 200,
            "ignore_eos": True}
    request = urllib.request.Request(
        up.http + "/v1/completions", json.dumps(body).encode(),
        {"Content-Type": "application/json", "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_the_tree_of_a_remote_prefill(tmp_path, jaeger, door):
    endpoint = f"{door}://127.0.0.1:{jaeger.ports[f'JAEGER_OTLP_{door.upper()}']}"
    with Up(tmp_path / "run", "--placement", "always-remote", "--trace-endpoint", endpoint) as up:
        up.wait_ready()
        shares = []
        for _ in range(5):
            trace = secrets.token_hex(16)
            answer = ask(up, trace)
            tree = Tree(jaeger.trace(trace))
            shares.append(tree.covered())
        assert sorted(shares)[2] >= 0.95, shares
        assert tree.names() == REMOTE_PREFILL
        said = tags(tree.root)
        assert said["gen_ai.usage.input_tokens"] == answer["usage"]["prompt_tokens"]
        assert said["baton.request.id"] in answer["id"]
        for span in tree.named("kv_transfer"):
            assert tags(span)["baton.kv.bytes"] > 0 and tags(span)["baton.kv.gb_per_s"] > 0
        assert up.stop() == 0, up.output
