"""Workers on a GPU that is not there (tests/support/stand_in_gpu.cc): what they say of it, and what becomes of
requests when it fails."""
import concurrent.futures
import json
import subprocess
import threading

import pytest

import baton_client as baton
from cluster import BIN, Up, alive, wait_until

REQUESTS = 8


@pytest.fixture
def up(tmp_path, gpu_programs):
    faults = tmp_path / "faults"
    faults.mkdir()
    environment = {"BATON_PROGRAM_DIR": str(gpu_programs), "STAND_IN_GPU_FAULTS": str(faults)}
    with Up(tmp_path / "run", "--prefill", "1", "--decode", "2", "--placement", "always-remote", "--set",
            "prefill.kv_memory=64MiB", "--set", "decode.kv_memory=64MiB", "--restart-delay-min", "50ms",
            env=environment) as up:
        up.faults = faults
        yield up.wait_ready()


def tell(client, i, begun=None):
    """A tale's token ids."""
    tokens = []
    sampling = baton.Sampling(max_tokens=400, ignore_eos=True, seed=i, logprobs=0)
    for event in client.generate(f"Tale number {i}: once upon a time there was", sampling=sampling, timeout=120):
        if isinstance(event, baton.Delta):
            tokens.extend(token.id for token in event.tokens)
            if begun is not None and len(tokens) > 30:
                begun.set()
    return tokens


def doctor(up):
    run = subprocess.run([BIN / "baton", "doctor", "--http", up.http.removeprefix("http://"), "--json"],
                         capture_output=True, text=True, timeout=60)
    return json.loads(run.stdout)


def test_a_gpu_that_fails_takes_no_request_along(up):
    with baton.Client(up.grpc, attempts=1) as client, concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
        expected = list(pool.map(lambda i: tell(client, i), range(REQUESTS)))
        begun = [threading.Event() for _ in range(REQUESTS)]
        again = [pool.submit(tell, client, i, begun[i]) for i in range(REQUESTS)]
        for event in begun:
            assert event.wait(60)
        pid = up.pids()["decode-0"]
        (up.faults / str(pid)).touch()
        assert [future.result(120) for future in again] == expected
    wait_until(lambda: not alive(pid), 20, "the worker has ended by itself")
    up.wait_for("illegal memory access", 20)
    # Its successor, on a device that works, is given work again.
    wait_until(lambda: up.pids().get("decode-0", pid) != pid, 20, "it was started again")
    wait_until(lambda: sum(w["role"] == "decode" and w["reachable"] for w in up.debug()["workers"]) == 2, 30)


def test_doctor_and_the_debug_page_say_what_workers_compute_on(up):
    workers = up.debug()["workers"]
    assert {w["backend"] for w in workers} == {"cuda:stand_in"}
    assert {w["device"] for w in workers} == {"Stand-in GPU"}
    assert {w["kv_access"] for w in workers} == {"host mirror"}
    report = doctor(up)
    assert {finding["kind"] for finding in report["findings"]} == {"kv-staging"}
    for worker in report["workers"]:
        device = worker["device"]
        assert device["kind"] == "cuda" and device["mirror_pinned"]
        assert (device["runtime_version"], device["driver_version"]) == ("0.1", "0.2")
        rank, = device["ranks"]
        assert rank["index"] == 0 and 0 < rank["memory_bytes_free"] < rank["memory_bytes"] == 8 << 30
