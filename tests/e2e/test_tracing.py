"""Traces of real requests, as a collector gets them."""
import json
import os
import re
import secrets
import signal
import socket
import statistics
import subprocess
import time
import urllib.request

import pytest

import baton_client as baton
from cluster import BIN, MODEL, Up, wait_until
from collector import Collector

ROUTER, DECODE, PREFILL = "baton-router", "baton-decode-worker", "baton-prefill-worker"
SMALL = ("--set", "prefill.kv_memory=64MiB", "--set", "decode.kv_memory=64MiB", "--status-interval", "1h")
PROMPT = "What is disaggregated prefill, and what is it good for? " * 4


@pytest.fixture(scope="module")
def collector():
    with Collector() as collector:
        yield collector


def a_cluster(tmp_path_factory, endpoint, *flags):
    return Up(tmp_path_factory.mktemp("up") / "run", *SMALL, "--trace-endpoint", endpoint, *flags)


@pytest.fixture(scope="module")
def up(tmp_path_factory, collector):
    """Every prompt is computed by the prefill worker."""
    with a_cluster(tmp_path_factory, collector.grpc, "--placement", "always-remote") as up:
        yield up.wait_ready()
        assert up.stop() == 0, up.output


def new_context(sampled=True):
    """(trace id, span id, traceparent)"""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, f"00-{trace}-{span}-{'01' if sampled else '00'}"


def ask(up, traceparent=None, max_tokens=200, prompt=PROMPT, **headers):
    """A completion; its prompt is new each time, so that no cache has it."""
    body = {"model": "baton-demo", "prompt": secrets.token_hex(8) + prompt, "max_tokens": max_tokens,
            "ignore_eos": True, "temperature": 0}
    request = urllib.request.Request(up.http + "/v1/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json", **headers})
    if traceparent:
        request.add_header("traceparent", traceparent)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def metric(up, outcome):
    with urllib.request.urlopen(up.http + "/metrics", timeout=10) as page:
        return float(re.search(rf'^baton_trace_spans_total{{outcome="{outcome}"}} (\S+)$', page.read().decode(), re.M)[1])


def one(spans, name, service):
    found = [span for span in spans if (span.name, span.service) == (name, service)]
    assert len(found) == 1, f"{name} of {service}: {found}"
    return found[0]


def covered(spans, parent):
    """The share of a span that its children account for, overlaps counted once."""
    total, until = 0, parent.start
    for child in sorted((span for span in spans if span.parent == parent.id), key=lambda span: span.start):
        total += max(0, min(child.end, parent.end) - max(child.start, until))
        until = max(until, child.end)
    return total / (parent.end - parent.start)


def test_a_remote_prefill_is_one_tree_that_accounts_for_its_time(up, collector):
    shares = []
    for _ in range(5):
        trace, client, traceparent = new_context()
        ask(up, traceparent)
        spans = collector.wait_for(trace)
        root = one(spans, "request", ROUTER)
        assert root.parent == client
        ids = {span.id: span for span in spans}
        assert len(ids) == len(spans)
        for span in spans:
            parent = ids.get(span.parent)
            assert span is root or (parent.start <= span.start and span.end <= parent.end), (span, parent)
        shares.append(covered(spans, root))
    assert statistics.median(shares) >= 0.95, shares
    names = sorted((span.service, span.name) for span in spans)
    assert names == sorted(
        [(ROUTER, name) for name in ("request", "tokenize", "route", "detokenize")]
        + [(DECODE, name) for name in ("queue", "prefill", "kv_transfer", "decode")]
        + [(PREFILL, name) for name in ("queue", "prefill", "kv_transfer")])


def test_its_spans_say_what_happened(up, collector):
    trace, _, traceparent = new_context()
    answer = ask(up, traceparent, tracestate="vendor=x")
    spans = collector.wait_for(trace)
    root = one(spans, "request", ROUTER)
    assert root.state == "vendor=x" and not root.error
    said = root.attributes
    assert answer["id"].endswith(said["baton.request.id"])
    assert said["baton.outcome"] == "completed" and said["baton.trace.kept_because"] == "client"
    assert said["gen_ai.request.model"] == "baton-demo"
    assert said["gen_ai.usage.input_tokens"] == answer["usage"]["prompt_tokens"]
    assert said["gen_ai.usage.output_tokens"] == 200
    assert 0 < said["baton.ttft_seconds"] < root.seconds
    decision = dict(one(spans, "route", ROUTER).events)["decision"]
    assert decision["baton.policy"] == "always-remote"
    assert decision["baton.prefill"] == one(spans, "prefill", PREFILL).instance
    assert decision["baton.decode"] == one(spans, "decode", DECODE).instance

    sent, received = one(spans, "kv_transfer", PREFILL), one(spans, "kv_transfer", DECODE)
    assert sent.attributes["baton.kv.bytes"] == received.attributes["baton.kv.bytes"] > 0
    wire = sent.attributes["baton.kv.wire_seconds"]
    assert 0 < wire <= sent.seconds + 1e-6
    assert sent.attributes["baton.kv.gb_per_s"] == pytest.approx(sent.attributes["baton.kv.bytes"] / wire / 1e9, rel=1e-6)
    assert received.attributes["baton.kv.exposed_seconds"] >= sent.attributes["baton.kv.exposed_seconds"] >= 0
    assert received.attributes["baton.kv.verify_seconds"] > 0
    assert one(spans, "prefill", PREFILL).attributes["baton.prefill.chunks"] >= 1

    request = answer["id"].removeprefix("cmpl-")
    with urllib.request.urlopen(f"{up.http}/debug/requests/{request}", timeout=10) as page:
        assert json.load(page)["trace_id"] == trace


def test_the_grpc_door_takes_the_context_too(up, collector):
    trace, client, traceparent = new_context()
    import grpc
    from baton.v1 import inference_pb2, inference_pb2_grpc
    with grpc.insecure_channel(up.grpc) as channel:
        request = inference_pb2.GenerateRequest(text="The KV cache")
        request.sampling.max_tokens = 4
        events = list(inference_pb2_grpc.InferenceStub(channel).Generate(
            request, metadata=[("traceparent", traceparent)], timeout=30))
    assert events
    assert one(collector.wait_for(trace), "request", ROUTER).parent == client


def test_without_a_context_a_trace_begins(up, collector):
    before = {root.trace for root in collector.roots()}
    ask(up, "not a context", max_tokens=2)
    new = wait_until(lambda: [root for root in collector.roots() if root.trace not in before], 20, "a new trace")
    assert len(new) == 1 and new[0].parent == "" and new[0].attributes["baton.trace.kept_because"] == "ratio"


def test_a_client_that_does_not_sample_is_not_traced(up, collector):
    trace, _, traceparent = new_context(sampled=False)
    ask(up, traceparent, max_tokens=2)
    later, _, traceparent = new_context()
    ask(up, traceparent, max_tokens=2)
    collector.wait_for(later)  # they go out in their order
    assert collector.spans(trace) == []


def test_attempts_of_a_migrated_request_are_linked(tmp_path_factory, collector):
    with a_cluster(tmp_path_factory, collector.http, "--decode", "2", "--prefill", "0", "--placement",
                   "always-local") as up:
        up.wait_ready()
        import grpc
        from baton.v1 import inference_pb2, inference_pb2_grpc
        trace, _, traceparent = new_context()
        with grpc.insecure_channel(up.grpc) as channel:
            request = inference_pb2.GenerateRequest(text="A long tale:")
            request.sampling.max_tokens = 900
            request.sampling.ignore_eos = True
            events = inference_pb2_grpc.InferenceStub(channel).Generate(
                request, metadata=[("traceparent", traceparent)], timeout=60)
            worker = next(events).started.decode_worker
            drain = subprocess.Popen([str(BIN / "baton"), "drain", worker.split("@")[0], "--http",
                                      up.http.removeprefix("http://")], stdout=subprocess.PIPE)
            list(events)
            assert drain.wait(60) == 0
        spans = collector.wait_for(trace)
        decodes = sorted((span for span in spans if span.name == "decode"), key=lambda span: span.start)
        assert [span.attributes["baton.attempt"] for span in decodes] == [1, 2], "too short to be moved"
        assert decodes[0].attributes["baton.left_because"] == "its worker is leaving"
        assert decodes[0].instance == worker != decodes[1].instance
        assert [to for to, _ in decodes[1].links] == [decodes[0].id]
        routes = sorted((span for span in spans if span.name == "route"), key=lambda span: span.start)
        assert [to for to, _ in routes[1].links] == [decodes[0].id]
        assert dict(routes[1].events)["decision"]["baton.reason"] == "migrated"
        # Its KV came from the worker that it left.
        senders = [span for span in spans if span.name == "kv_transfer" and span.instance == worker]
        assert len(senders) == 1
        assert covered(spans, one(spans, "request", ROUTER)) >= 0.95
        assert up.stop() == 0, up.output


def test_with_ratio_zero_an_error_still_leaves_a_trace(tmp_path_factory, collector):
    with a_cluster(tmp_path_factory, collector.grpc, "--trace-ratio", "0", "--set", "router.resume_timeout=0s") as up:
        up.wait_ready()
        before = len(collector.roots())
        ask(up, max_tokens=2)
        stream = baton.Client(up.grpc, attempts=1).generate(
            "A long tale:", sampling=baton.Sampling(max_tokens=900, ignore_eos=True), timeout=60)
        next(stream)
        os.kill(up.pids()["decode-0"], signal.SIGKILL)
        with pytest.raises(Exception):
            list(stream)
        wait_until(lambda: len(collector.roots()) > before, 20, "the trace of an error")
        roots = collector.roots()[before:]
        assert [root.attributes["baton.trace.kept_because"] for root in roots] == ["error"], "the other one was well"
        assert "lost" in roots[0].error
        up.stop()


def test_with_ratio_zero_a_slow_request_still_leaves_a_trace(tmp_path_factory, collector):
    with a_cluster(tmp_path_factory, collector.grpc, "--trace-ratio", "0", "--trace-slow", "1ms") as up:
        up.wait_ready()
        before = len(collector.roots())
        ask(up, max_tokens=40)
        wait_until(lambda: len(collector.roots()) > before, 20, "the trace of a slow request")
        assert [root.attributes["baton.trace.kept_because"] for root in collector.roots()[before:]] == ["slow"]
        assert up.stop() == 0, up.output


@pytest.mark.parametrize("scheme", ["grpc", "http"])
@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "says nothing"])
def test_a_collector_that_is_not_there_changes_nothing(tmp_path_factory, scheme, silent):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen(64)  # connections are made, and nobody ever answers
        endpoint = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        with a_cluster(tmp_path_factory, endpoint) as up:
            up.wait_ready()
            for _ in range(3):
                assert ask(up, max_tokens=20)["usage"]["completion_tokens"] == 20
            wait_until(lambda: metric(up, "failed") > 0, 20, "spans that were lost are counted")
            ask(up, max_tokens=2)  # something is left to flush
            began = time.monotonic()
            assert up.stop() == 0, up.output
            assert time.monotonic() - began < 10, "two calls of a second each, and a second to flush"


def test_an_endpoint_without_a_scheme_is_refused_by_name(tmp_path):
    router = subprocess.run([str(BIN / "baton-router"), "--model", str(MODEL), "--trace-endpoint",
                             "collector:4317"], capture_output=True, text=True, timeout=30)
    assert router.returncode == 78
    assert "router.trace_endpoint must be grpc://HOST:PORT or http://HOST:PORT, got 'collector:4317'" in router.stderr
