"""A planner where routers want a key and speak HTTPS, and whose own door wants a certificate."""
import json
import os
import socket
import subprocess
from types import SimpleNamespace

import grpc
import pytest
from authority import Authority
from cluster import BIN, wait_until
from test_planner import Planner
from test_security import Cluster

NAME = "chat.example.org"
FIRST, SECOND = "sk-first-0123456789", "sk-second-0123456789"


def own_address():
    """Not the loopback, where one is: a router asks who comes from there for no key."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # nothing is sent
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path / "ca")


@pytest.fixture
def cluster(tmp_path, ca):
    """A router and a decode worker behind HTTPS for NAME and API keys; `keys` is their file."""
    cluster = Cluster(tmp_path)
    cluster.http = cluster.http.replace("127.0.0.1", own_address())
    cluster.keys = put(tmp_path / "keys", f"{FIRST}\n")
    certificate, key = ca.issue("door", f"DNS:{NAME}")
    cluster.router("--http-tls-certificate", certificate, "--http-tls-key", key, "--api-keys-file", cluster.keys)
    cluster.worker("decode")
    cluster.says("router", "listening")
    yield cluster
    cluster.close()


def put(path, text):
    """At once, as a mounted secret changes."""
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)
    return path


class Asking(Planner):
    """A planner of this cluster."""

    def __init__(self, folder, cluster, *flags):
        super().__init__(folder, SimpleNamespace(http=f"http://{cluster.http}"), *flags)
        self.grpc = json.loads(self.ports.read_text())["grpc"]

    def routers(self):
        """How many answered at the last look, None before the first that did."""
        plan = self.plan()
        return plan and plan["routers"]["answered"]

    def failed(self):
        return 'baton_planner_routers{state="failed"} 1' in self.page("/metrics")


def test_it_asks_with_a_key_over_https_and_takes_a_new_key_without_a_restart(cluster, ca, tmp_path):
    if own_address() == "127.0.0.1":
        pytest.skip("this machine has no address but the loopback's")
    key = put(tmp_path / "key", f"{FIRST}\n")
    flags = ("--api-key-file", key, "--http-tls-ca", ca.ca)
    with Asking(tmp_path, cluster, *flags, "--http-tls-name", NAME) as planner:
        wait_until(lambda: planner.routers() == 1, what=cluster.logs)
        put(cluster.keys, f"{SECOND}\n")
        wait_until(planner.failed, what="its key is refused")
        put(key, SECOND)
        wait_until(lambda: not planner.failed(), what="its new key is taken")
    assert "give planner.api_key_file a key that routers have" in planner.log
    assert "the router answers again" in planner.log
    assert FIRST not in planner.log and SECOND not in planner.log


def test_it_does_not_believe_a_router_with_a_certificate_for_another_name(cluster, ca, tmp_path):
    key = put(tmp_path / "key", f"{FIRST}\n")
    with Asking(tmp_path, cluster, "--api-key-file", key, "--http-tls-ca", ca.ca) as planner:  # it dials an address
        wait_until(planner.failed, what="the router is not believed")
        assert not planner.plan()
    assert "certificate verify failed" in planner.log, planner.log


def test_it_tells_only_who_has_a_certificate_of_its_ca(cluster, ca, tmp_path):
    key = put(tmp_path / "key", f"{FIRST}\n")
    with Asking(tmp_path, cluster, "--api-key-file", key, "--http-tls-ca", ca.ca, "--http-tls-name", NAME,
                *ca.flags("planner", "planner", "DNS:localhost")) as planner:
        wait_until(lambda: planner.routers() == 1, what=cluster.logs)
        port = planner.grpc.rpartition(":")[2]
        believed = ca.ca.read_bytes()
        with grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(
                believed, (ca.folder / "planner.key").read_bytes(), (ca.folder / "planner.crt").read_bytes())) as channel:
            assert is_active(channel)
        for refused in (grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(believed)),
                        grpc.insecure_channel(f"localhost:{port}")):
            with refused, pytest.raises(grpc.RpcError) as error:
                is_active(refused)
            assert error.value.code() == grpc.StatusCode.UNAVAILABLE


def is_active(channel):
    """What KEDA asks of pool decode."""
    call = channel.unary_unary("/externalscaler.ExternalScaler/IsActive", request_serializer=bytes, response_deserializer=bytes)
    return call(b"\x1a\x0e\x0a\x04pool\x12\x06decode", timeout=5) == b"\x08\x01"


@pytest.mark.parametrize("text", [None, "", "two keys-0123456789"])
def test_a_key_that_cannot_be_used_ends_the_start_with_a_line_that_names_the_file(text, tmp_path):
    key = tmp_path / "key"
    if text is not None:
        key.write_text(text)
    done = subprocess.run([BIN / "baton-planner", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--api-key-file", key],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 78 and f"planner.api_key_file {key}: " in done.stderr, done.stderr
