"""A decode worker that leaves hands its running requests over, and nobody notices."""
import concurrent.futures
import re
import subprocess
import threading
import urllib.request

import pytest

import baton_client as baton
from cluster import BIN, Up, wait_until

REQUESTS = 40


@pytest.fixture
def up(tmp_path):
    with Up(tmp_path / "run", "--decode", "2", "--set", "decode.kv_memory=128MiB",
            "--restart-delay-min", "50ms") as up:
        yield up.wait_ready()


def tell(client, i, begun=None):
    """Texts and token ids by choice; each request has its own seed, some have two choices."""
    texts, tokens = {}, {}
    sampling = baton.Sampling(max_tokens=400, ignore_eos=True, seed=i, logprobs=0)
    for event in client.generate(f"Tale number {i}:", sampling=sampling, n=1 + i % 2, timeout=120):
        if isinstance(event, baton.Delta):
            texts[event.index] = texts.get(event.index, "") + event.text
            tokens.setdefault(event.index, []).extend(token.id for token in event.tokens)
            if begun is not None and len(tokens[event.index]) > 30:
                begun.set()
    return texts, tokens


def metric(up, name):
    with urllib.request.urlopen(f"{up.http}/metrics", timeout=10) as page:
        return float(re.search(rf"^{name} (\S+)$", page.read().decode(), re.M)[1])


def drain(up, worker):
    return subprocess.run([str(BIN / "baton"), "drain", worker, "--http", up.http.removeprefix("http://")],
                          capture_output=True, text=True, timeout=60)


def ids(up, name):
    return [w["id"] for w in up.debug()["workers"] if w["id"].startswith(name + "@")]


def test_a_draining_decode_worker_hands_its_requests_over_with_their_kv(up):
    with baton.Client(up.grpc, attempts=1) as client:
        with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
            expected = list(pool.map(lambda i: tell(client, i), range(REQUESTS)))
            begun = [threading.Event() for _ in range(REQUESTS)]
            again = [pool.submit(tell, client, i, begun[i]) for i in range(REQUESTS)]
            for event in begun:
                assert event.wait(60)
            leaving = ids(up, "decode-0")
            result = drain(up, "decode-0")
            assert result.returncode == 0, result.stderr
            assert f"{leaving[0]} has left after" in result.stdout
            assert not all(future.done() for future in again), "too short to tell"
            assert [future.result() for future in again] == expected
    assert metric(up, "baton_requests_migrated_total") > 0
    assert metric(up, "baton_requests_resubmitted_total") == 0, "nothing was lost"
    up.wait_for("decode-0 has drained and left; starting it again")
    wait_until(lambda: len(ids(up, "decode-0")) == 1 and ids(up, "decode-0") != leaving, 30, "decode-0 is back")


def test_a_worker_that_is_not_there_is_named_with_those_that_are(up):
    result = drain(up, "decode-9")
    assert result.returncode == 1
    assert 'no worker is named "decode-9"; attached: decode-0@' in result.stderr
