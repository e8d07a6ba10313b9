"""A real cluster whose processes die."""
import collections
import concurrent.futures
import os
import signal
import threading

import grpc
import pytest

import baton_client as baton
from baton.v1 import inference_pb2, inference_pb2_grpc
from cluster import Up, alive, wait_until
from conftest import shared_memory


@pytest.fixture
def up(tmp_path):
    before = shared_memory()
    with Up(tmp_path / "run", "--placement", "always-remote", "--set", "prefill.kv_memory=64MiB", "--set",
            "decode.kv_memory=64MiB", "--set", "decode.prefix_cache=off", "--restart-delay-min", "50ms") as up:
        yield up.wait_ready()
    wait_until(lambda: shared_memory() == before, 5, "shared memory was left behind")


# Several blocks long: shorter prompts are not worth a hand-over.
LONG = "A decode worker owns a request from admission to its last token. " * 8


def ask(up):
    with baton.Client(up.grpc, attempts=8) as client:
        sampling = baton.Sampling(temperature=0, max_tokens=16)
        return client.generate(LONG, sampling=sampling, timeout=60).answer()


def test_a_killed_prefill_worker_costs_no_answer(up):
    first = ask(up)
    assert first.started.prefill_worker.startswith("prefill-0@")
    expected = first.text
    os.kill(up.pids()["prefill-0"], signal.SIGKILL)
    assert ask(up).text == expected
    up.wait_for("prefill-0 killed by signal 9")
    wait_until(lambda: len(up.debug()["workers"]) == 2, 30, "the prefill worker is back")
    answer = ask(up)
    assert answer.text == expected and answer.started.prefill_worker.startswith("prefill-0@")


def tale(up, on_delta=lambda: None):
    """Two seeded choices, long enough to be disturbed on the way. Texts and, by choice, token ids."""
    texts, tokens = {}, {}
    with baton.Client(up.grpc, attempts=1) as client:
        sampling = baton.Sampling(max_tokens=700, ignore_eos=True, seed=11, frequency_penalty=0.4, logprobs=0)
        for event in client.generate("Once upon a time", sampling=sampling, n=2, timeout=120):
            if isinstance(event, baton.Delta):
                texts[event.index] = texts.get(event.index, "") + event.text
                tokens.setdefault(event.index, []).extend(token.id for token in event.tokens)
                on_delta()
    return texts, tokens


def test_a_killed_decode_worker_is_not_noticed_in_a_stream(up):
    undisturbed = tale(up)
    assert all(len(tokens) == 700 for tokens in undisturbed[1].values())
    deltas = 0

    def kill_in_the_middle():
        nonlocal deltas
        deltas += 1
        if deltas in (100, 400):
            os.kill(up.pids()["decode-0"], signal.SIGKILL)

    assert tale(up, kill_in_the_middle) == undisturbed
    assert deltas > 400
    assert len([line for line in up.lines if "decode-0 killed by signal 9" in line]) == 2
    wait_until(lambda: len(up.debug()["workers"]) == 2, 30, "the decode worker is back")


def test_a_killed_router_finds_its_workers_again(up):
    expected = ask(up).text
    workers = {name: pid for name, pid in up.pids().items() if name != "router"}
    os.kill(up.pids()["router"], signal.SIGKILL)
    up.wait_for("router killed by signal 9")
    assert ask(up).text == expected
    assert {name: pid for name, pid in up.pids().items() if name != "router"} == workers


def test_ctrl_c_lets_a_request_end_and_leaves_nothing(up):
    pids = up.pids()
    answers = []
    begun = threading.Event()

    def request():
        with baton.Client(up.grpc) as client:
            sampling = baton.Sampling(max_tokens=200, ignore_eos=True, temperature=0)
            for event in client.generate("Once", sampling=sampling):
                begun.set()
                answers.append(event)

    thread = threading.Thread(target=request)
    thread.start()
    assert begun.wait(30)
    up.signal(signal.SIGINT)
    thread.join(30)
    assert isinstance(answers[-1], baton.Usage) and answers[-1].completion_tokens == 200
    assert up.wait_end() == 0
    assert not any(alive(pid) for pid in pids.values())


def test_a_corrupt_model_is_refused_with_file_and_reason(tmp_path):
    import shutil

    from cluster import MODEL
    model = tmp_path / "broken"
    shutil.copytree(MODEL, model)
    weights = next(model.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with Up(tmp_path / "run", model=model) as up:
        assert up.wait_end() == 78
        assert weights.name in up.output


def test_killing_prefill_workers_under_load_changes_no_answer(up):
    """Hand-overs are cut in the middle; every request still says what it says alone."""
    prompts = [f"Request {i}: " + LONG * 4 for i in range(8)]
    enough = threading.Event()
    wrong = []

    def answer(client, prompt):
        sampling = baton.Sampling(temperature=0, max_tokens=8)
        return client.generate(prompt, sampling=sampling, timeout=60).answer().text

    def ask_again_and_again(client, prompt, expected):
        while not enough.is_set():
            got = answer(client, prompt)
            if got != expected:
                wrong.append((expected, got))

    def computing():
        return any(w["id"].startswith("prefill") and w["load"]["prompt_tokens"] > 0 for w in up.debug()["workers"])

    with baton.Client(up.grpc, attempts=8) as client:
        alone = [answer(client, prompt) for prompt in prompts]
        with concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
            work = [pool.submit(ask_again_and_again, client, p, e) for p, e in zip(prompts, alone)]
            try:
                for _ in range(4):
                    wait_until(computing, 30, "the prefill worker has work")
                    os.kill(up.pids()["prefill-0"], signal.SIGKILL)
                    wait_until(lambda: len(up.debug()["workers"]) == 1, 10, "the router has noticed")
            finally:
                enough.set()
            for one in work:
                one.result()
    assert wrong == []

    def held():
        counts = {w["id"]: (w["load"]["blocks_active"], w["load"]["blocks_quarantined"])
                  for w in up.debug()["workers"]}
        return {worker: count for worker, count in counts.items() if count != (0, 0)}

    wait_until(lambda: not held(), 15, lambda: f"blocks are still held: {held()}")


def test_a_router_that_leaves_tells_nobody_that_they_cancelled(up):
    """Whoever calls at the moment it ends is to try again: CANCELLED would be taken for the caller's own doing."""
    told = collections.Counter()
    enough = threading.Event()

    def call_without_pause():
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 100)]
        with grpc.insecure_channel(up.grpc, options=options) as channel:
            stub = inference_pb2_grpc.InferenceStub(channel)
            while not enough.is_set():
                try:
                    stub.ListModels(inference_pb2.ListModelsRequest(), timeout=10, wait_for_ready=True)
                    told["OK"] += 1
                except grpc.RpcError as error:
                    told[error.code().name] += 1

    def served_since(count):
        return lambda: told["OK"] > count + 100

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(call_without_pause) for _ in range(4)]
        try:
            for _ in range(6):
                wait_until(served_since(told["OK"]), 30, "the router answers")
                router = up.pids()["router"]
                os.kill(router, signal.SIGTERM)
                wait_until(lambda: up.pids().get("router", router) != router, 30, "another router")
            wait_until(served_since(told["OK"]), 30, "the router answers")
        finally:
            enough.set()
        for caller in callers:
            caller.result()
    assert set(told) <= {"OK", "UNAVAILABLE"}, told
