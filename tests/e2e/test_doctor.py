"""`baton doctor` in and around a real cluster."""
import json
import os
import signal
import socket
import subprocess
import time

import pytest

from cluster import BIN, MODEL, Up, wait_until


def doctor(up, *flags):
    address = up.http.removeprefix("http://")
    run = subprocess.run([BIN / "baton", "doctor", "--http", address, "--json", *flags], capture_output=True, text=True,
                         timeout=60)
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


def kinds(report):
    return {(finding["kind"], finding["subject"].split("@")[0]) for finding in report["findings"]}


@pytest.fixture
def up(tmp_path):
    with Up(tmp_path / "run", "--prefill", "1", "--decode", "1", "--set", "prefill.kv_memory=64MiB", "--set",
            "decode.kv_memory=64MiB") as up:
        yield up.wait_ready()


@pytest.fixture
def joined(up):
    """Starts one more decode worker with these flags; it is attached when the call returns."""
    started = []

    def join(*flags):
        name = f"joined-{len(started)}"
        command = [BIN / "baton-decode-worker", "--model", MODEL, "--router", up.grpc, "--worker-id", name,
                   "--kv-memory", "64MiB", *flags]
        started.append(subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_until(lambda: any(w["id"].startswith(name + "@") and w["reachable"] for w in up.debug()["workers"]), 30,
                   f"{name} is attached")
        return started[-1]

    yield join
    for process in started:
        process.kill()
        process.wait()


def test_all_is_well_in_a_healthy_cluster(cluster):
    code, report = doctor(cluster)
    assert report["findings"] == [] and report["healthy"] and code == 0
    assert len(report["paths"]) == 2 == report["paths_total"]
    for path in report["paths"]:
        assert path["path"] == "shared memory" and path["intact"]
        assert path["gigabytes_per_second"] > 0 and 0 < path["round_trip_ms"] < 1000
    assert all(abs(w["clock"]["ahead_ms"]) <= w["clock"]["give_or_take_ms"] + 1 for w in report["workers"])
    # And for a person.
    run = subprocess.run([BIN / "baton", "doctor", "--http", cluster.http.removeprefix("http://")],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and "All is well." in run.stdout and "shared memory" in run.stdout


def test_no_request_is_disturbed_and_no_block_is_held(cluster):
    def nothing_held():
        return [w["load"]["blocks_active"] for w in cluster.debug()["workers"]] == [0, 0, 0]
    wait_until(nothing_held, 20, cluster.debug)  # what ran before has ended
    doctor(cluster)
    wait_until(nothing_held, 20, cluster.debug)  # workers tell it every 100 ms


def test_tcp_where_shared_memory_is_there_is_a_finding(up, joined):
    joined("--transfer-path", "tcp")
    code, report = doctor(up)
    assert code == 1
    assert kinds(report) == {("fallback", "prefill-0")}
    assert "transfer_path=tcp" in report["findings"][0]["advice"]
    assert "joined-0" in report["findings"][0]["advice"]
    assert {path["path"] for path in report["paths"]} == {"shared memory", "tcp"}


def test_a_worker_that_pairs_with_nobody_is_a_finding(up, joined):
    joined("--block-tokens", "32")
    code, report = doctor(up)
    assert code == 1
    assert kinds(report) == {("fingerprint", "joined-0")}
    assert "block_tokens" in report["findings"][0]["advice"]
    assert len(report["paths"]) == 1


def test_a_stopped_worker_is_a_finding_and_delays_nobody_for_long(up, joined):
    worker = joined()
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        code, report = doctor(up, "--answer-within", "1s")
        assert time.monotonic() - began < 10
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    assert code == 1
    # Unless the router has lost it already.
    assert kinds(report) <= {("silent-worker", "joined-0")}
    assert len(report["paths"]) == 1


def test_without_a_router_it_says_so(cluster):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % nobody.getsockname()[1]
    run = subprocess.run([BIN / "baton", "doctor", "--http", address], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and address in run.stderr
