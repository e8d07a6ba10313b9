"""A worker is ready when a router has it; before that it lives, and says what is wrong."""
import socket
import subprocess

import grpc
import pytest
from cluster import BIN, MODEL, wait_until


def serving(address, service):
    """What grpc.health.v1 says; None while nobody answers."""
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes)
        try:
            return check(b"\x0a" + bytes([len(service)]) + service.encode(), timeout=5) == b"\x08\x01"
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            return None


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_worker_without_a_router_lives_is_not_ready_and_says_why(role, tmp_path):
    router_port, own_port = free_port(), free_port()
    own, log, started = f"127.0.0.1:{own_port}", tmp_path / "log", []

    def start(*command):
        started.append(subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=log.open("a")))
    try:
        start(BIN / f"baton-{role}-worker", "--model", MODEL, "--router", f"127.0.0.1:{router_port}", "--grpc", own,
              "--kv-memory", "16MiB")
        wait_until(lambda: serving(own, "liveness"), 30, log.read_text)
        assert serving(own, "") is False
        wait_until(lambda: "no router has this worker" in log.read_text(), 30, log.read_text)
        assert f"127.0.0.1:{router_port}" in log.read_text()
        start(BIN / "baton-router", "--model", MODEL, "--grpc", f"127.0.0.1:{router_port}", "--http", "127.0.0.1:0")
        wait_until(lambda: serving(own, ""), 30, log.read_text)
        started[1].kill()
        wait_until(lambda: serving(own, "") is False, 30, log.read_text)
        assert serving(own, "liveness") is True
    finally:
        for process in started:
            process.kill()
            process.wait()
