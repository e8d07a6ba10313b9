"""A worker is ready when a router has it; before that it lives, and says what is wrong."""
import json
import shutil
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


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory):
    """The demo model's tokenizer with weights that take seconds to make."""
    folder = tmp_path_factory.mktemp("slow") / "model"
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 8, "num_attention_heads": 16,
               "num_key_value_heads": 4, "head_dim": 128, "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def told_while_loading(model, folder, *flags):
    """What its health door says of (liveness, readiness) until it listens, and after that."""
    health, log = f"127.0.0.1:{free_port()}", folder / "log"
    worker = subprocess.Popen(
        [str(word) for word in (BIN / "baton-decode-worker", "--model", model, "--load-format", "random", "--health", health,
                                "--grpc", "127.0.0.1:0", "--kv-memory", "16MiB", *flags)],
        stdout=subprocess.DEVNULL, stderr=log.open("a"))
    told = set()

    def listens():
        assert worker.poll() is None, log.read_text()
        said = serving(health, "liveness"), serving(health, "")
        if " listening " in log.read_text():
            return True
        if None not in said:
            told.add(said)
        return False
    try:
        wait_until(listens, 60, log.read_text)
        wait_until(lambda: serving(health, "liveness") and serving(health, ""), 10, log.read_text)
    finally:
        worker.kill()
        worker.wait()
    return told, log.read_text()


def test_a_worker_that_loads_is_alive_and_not_ready_however_long_it_takes(slow_model, tmp_path):
    told, log = told_while_loading(slow_model, tmp_path)
    # Ready is said a moment before the log says it.
    assert told - {(True, True)} == {(True, False)}, log


def test_a_worker_that_has_loaded_nothing_for_too_long_is_not_alive_until_it_goes_on(slow_model, tmp_path):
    told, log = told_while_loading(slow_model, tmp_path, "--startup-stall", "10ms")
    assert (False, False) in told and "nothing has been loaded for so long" in log, (told, log)
