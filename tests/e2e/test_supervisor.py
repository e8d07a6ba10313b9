"""`baton up` over stand-in programs: starting, restarting, failing and stopping, without a model."""
import json
import os
import pathlib
import shutil
import signal
import socket
import time

import pytest

from cluster import BIN, Up, alive, wait_until

PROGRAMS = ("baton-router", "baton-prefill-worker", "baton-decode-worker")


@pytest.fixture
def start(tmp_path):
    """Starts `baton up` beside stand-ins; everything is gone afterwards, which is checked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copy2(BIN / "baton", folder / "baton")
    for program in PROGRAMS:
        shutil.copy2(pathlib.Path(__file__).parent / "stand_in.py", folder / program)
        (folder / program).chmod(0o755)
    (tmp_path / "model").mkdir()
    started = []

    def start(*flags, runtime="run", **named):
        named.setdefault("model", tmp_path / "model")
        up = Up(tmp_path / runtime, *flags, baton=folder / "baton", **named)
        started.append(up)
        return up

    yield start
    for up in started:
        if up.process.poll() is None:
            pids = up.pids()
            up.process.kill()
            up.process.wait()
            wait_until(lambda: not any(alive(pid) for pid in pids.values()), 5, "children outlived the supervisor")


def test_starts_reports_and_stops(start):
    up = start("--prefill", "2", "--decode", "1", "--status-interval", "100ms").wait_ready()
    pids = up.pids()
    assert set(pids) == {"router", "prefill-0", "prefill-1", "decode-0"}
    up.wait_for(r"router +ready +7 requests")
    up.wait_for(r"prefill-0 +ready .*KV 2.0 KiB handed over")
    up.wait_for(r"curl -N http://127.0.0.1:\d+/v1/chat/completions")
    up.signal(signal.SIGINT)
    assert up.wait_end() == 0
    assert not any(alive(pid) for pid in pids.values())


def test_children_get_their_configuration_as_flags(start, tmp_path):
    up = start("--set", "decode.kv_memory=96MiB", "--dtype", "bf16", "--threads-per-worker", "3",
               env={"MAX_BATCH_SIZE": "5"}).wait_ready()
    argv = json.loads((tmp_path / "run/decode-0.argv").read_text())
    for flag in ("--kv-memory=96MiB", "--dtype=bf16", "--threads=3", "--max-batch-size=5", "--log-format=json"):
        assert flag in argv
    prefill = json.loads((tmp_path / "run/prefill-0.argv").read_text())
    assert "--kv-memory=96MiB" not in prefill and "--max-batch-size=5" in prefill


@pytest.mark.parametrize("name", ["decode-0", "router"])
def test_a_killed_process_is_started_again(start, name):
    up = start().wait_ready()
    first = up.pids()
    os.kill(first[name], signal.SIGKILL)
    up.wait_for(rf"{name} killed by signal 9 \(Killed\); starting it again in 200ms")
    pids = wait_until(lambda: (now := up.pids()).get(name, first[name]) != first[name] and now, 10, "restart")
    assert {n: p for n, p in pids.items() if n != name} == {n: p for n, p in first.items() if n != name}
    if name == "router":
        http = up.http
        wait_until(lambda: _answers(http), 10, "the router came back on its port")


def _answers(http):
    host, port = http.removeprefix("http://").split(":")
    with socket.socket() as s:
        return s.connect_ex((host, int(port))) == 0


def test_restarts_back_off(start):
    up = start("--restart-delay-min", "50ms").wait_ready()
    for pause in ("50ms", "100ms", "200ms"):
        pid = wait_until(lambda: up.pids().get("decode-0"), 10, "decode-0 runs")
        os.kill(pid, signal.SIGKILL)
        up.wait_for(rf"starting it again in {pause}$")
        wait_until(lambda: up.pids().get("decode-0", pid) != pid, 10, "restart")


def test_a_bad_model_stops_everything_with_its_reason(start):
    up = start(env={"STAND_IN_DECODE_0": "exit:78"})
    assert up.wait_end() == 78
    assert "decode-0 cannot start:" in up.output
    assert "model.safetensors: the header is cut off" in up.output


def test_a_process_that_keeps_dying_before_it_is_ready_is_given_up(start):
    up = start("--restart-delay-min", "10ms", "--restart-delay-max", "20ms", env={"STAND_IN_PREFILL_0": "exit:1"})
    assert up.wait_end() == 1
    assert "prefill-0 exited with code 1 5 times in a row and was never ready" in up.output


def test_a_port_in_use_names_the_flag(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        up = start(ports=(address, "127.0.0.1:0"))
        assert up.wait_end() == 1
        assert f"--http {address}: Address already in use" in up.output
        up = start(runtime="run2", ports=("127.0.0.1:0", address))
        assert up.wait_end() == 1
        assert f"--grpc {address}: Address already in use" in up.output


def test_a_wrong_flag_is_refused_with_a_suggestion(start):
    up = start("--prefil", "2")
    assert up.wait_end() == 2
    assert "unknown flag '--prefil' (did you mean '--prefill'?)" in up.output


def test_a_wrong_cluster_file_is_refused_with_its_line(start, tmp_path):
    (tmp_path / "c.yaml").write_text("decode:\n  batch_sequences_max: 0\n")
    up = start("--config", str(tmp_path / "c.yaml"))
    assert up.wait_end() == 78
    assert "c.yaml:2: decode.batch_sequences_max must be between 1 and 4096, got 0" in up.output


def test_a_deaf_process_is_killed_at_the_deadline(start):
    up = start("--drain-timeout", "300ms", env={"STAND_IN_DECODE_0": "deaf"}).wait_ready()
    pids = up.pids()
    begun = time.monotonic()
    up.signal(signal.SIGTERM)
    assert up.wait_end() == 0
    assert 0.25 < time.monotonic() - begun < 10
    assert not any(alive(pid) for pid in pids.values())


def test_a_second_interrupt_kills_at_once(start):
    up = start("--drain-timeout", "1h", env={"STAND_IN_DECODE_0": "deaf"}).wait_ready()
    pids = up.pids()
    up.signal(signal.SIGINT)
    up.wait_for("Draining")
    up.signal(signal.SIGINT)
    assert up.wait_end(10) == 0
    assert not any(alive(pid) for pid in pids.values())


def test_nothing_survives_a_killed_supervisor(start):
    up = start("--prefill", "2").wait_ready()
    pids = up.pids()
    up.process.kill()
    up.process.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids.values()), 5, "children died with the supervisor")


def test_a_private_runtime_folder_goes_with_the_cluster(start, tmp_path):
    parent = tmp_path / "xdg"
    parent.mkdir()
    up = start("--runtime-dir", "auto", env={"XDG_RUNTIME_DIR": str(parent)}).wait_ready()
    assert len(list(parent.iterdir())) == 1
    up.signal()
    assert up.wait_end() == 0
    assert list(parent.iterdir()) == []
