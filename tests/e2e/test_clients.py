"""Our own clients, WebSocket and the command line against a real cluster."""
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request

import pytest
from websockets.sync.client import connect

import baton_client as baton
from cluster import BIN, SOURCE, wait_until

GREEDY = baton.Sampling(temperature=0, max_tokens=24)


def run(*command, env=None, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60,
                          env=os.environ | (env or {}), **options)


def test_python_sdk_over_a_real_hand_over(cluster):
    with baton.Client(cluster.grpc) as client:
        model = client.models()[0]
        ids = client.tokenize("A prefix cache keeps KV blocks. " * 20)
        assert client.detokenize(ids, skip_special_tokens=True).startswith("A prefix cache")
        answer = client.generate(ids, sampling=GREEDY, return_token_ids=True).answer()
        assert answer.started.prefill_worker.startswith("prefill-")
        assert answer.usage.prompt_tokens == len(ids) < model.context_tokens_max


def test_both_doors_say_the_same(cluster):
    with baton.Client(cluster.grpc) as client:
        text = client.chat("What is a KV cache?", sampling=GREEDY).answer().text
    body = {"model": "baton-demo", "messages": [{"role": "user", "content": "What is a KV cache?"}],
            "max_tokens": 24, "temperature": 0}
    request = urllib.request.Request(cluster.http + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        assert json.load(reply)["choices"][0]["message"]["content"] == text


async def test_python_sdk_asyncio(cluster):
    async with baton.AsyncClient(cluster.grpc) as client:
        pieces = [text async for text in client.chat("What is decode?", sampling=GREEDY).texts()]
    assert len("".join(pieces)) > 5


def test_a_client_that_leaves_frees_its_blocks(cluster):
    with baton.Client(cluster.grpc) as client:
        sampling = baton.Sampling(max_tokens=3000, ignore_eos=True)
        generation = client.generate("Once upon a time " * 30, sampling=sampling)
        for event in generation:
            if isinstance(event, baton.Delta):
                break
        generation.cancel()
        with pytest.raises(baton.Cancelled):
            generation.answer()

    def idle():
        loads = [w["load"] for w in cluster.debug()["workers"]]
        return all(load["blocks_active"] == 0 and load["running"] == 0 and load["blocks_quarantined"] == 0
                   for load in loads)

    wait_until(idle, 10, "blocks freed on every worker")


def test_errors_are_exceptions(cluster):
    with baton.Client(cluster.grpc) as client:
        with pytest.raises(baton.InvalidRequest, match="top_p"):
            client.generate("x", sampling=baton.Sampling(top_p=2)).answer()
        with pytest.raises(baton.NotFound, match="nothing"):
            client.generate("x", model="nothing").answer()
        with pytest.raises(baton.DeadlineExceeded):
            client.generate("x", sampling=baton.Sampling(max_tokens=4000, ignore_eos=True), timeout=0.05).answer()


def test_websocket_streams_a_chat(cluster):
    with connect(cluster.http.replace("http", "ws") + "/v1/ws") as socket:
        socket.send(json.dumps({"model": "baton-demo", "messages": [{"role": "user", "content": "What is decode?"}],
                                "max_tokens": 16, "temperature": 0}))
        pieces, reason = [], None
        while reason is None:
            chunk = json.loads(socket.recv(timeout=30))
            for choice in chunk.get("choices", []):
                pieces.append((choice.get("delta") or {}).get("content") or "")
                reason = choice.get("finish_reason") or reason
    assert len("".join(pieces)) > 5


@pytest.mark.parametrize("example", ["chat.py", "chat_async.py"])
def test_python_examples(cluster, example):
    done = run(sys.executable, SOURCE / "sdk/python/examples" / example, cluster.grpc)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 20


def test_cpp_example(cluster):
    done = run(BIN / "baton-sdk-example", cluster.grpc, "What is a KV cache?")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 20


def test_command_line(cluster, tmp_path):
    env = {"BATON_CLIENT_GRPC": cluster.grpc}
    models = run(BIN / "baton", "models", "--json", env=env)
    assert json.loads(models.stdout)[0]["id"] == "baton-demo"
    once = run(BIN / "baton", "chat", "--temperature", "0", "--max-tokens", "16", "What is a KV cache?", env=env)
    piped = run(BIN / "baton", "chat", "--temperature", "0", "--max-tokens", "16", env=env,
                input="What is a KV cache?\n")
    assert once.returncode == 0 and once.stdout == piped.stdout and len(once.stdout) > 10
    wrong = run(BIN / "baton", "chat", "--model", "nothing", "hi", env=env)
    assert wrong.returncode == 1 and "nothing" in wrong.stderr


def test_bench_reports_every_figure(cluster, tmp_path):
    file = tmp_path / "figures.json"
    done = run(BIN / "baton", "bench", "--http", cluster.http.removeprefix("http://"), "--rate", "20", "--requests",
               "30", "--prompt-tokens", "uniform:20-200", "--output-tokens", "8", "--slo-ttft", "10s", "--json", file,
               env={"BATON_CLIENT_GRPC": cluster.grpc})
    assert done.returncode == 0, done.stderr
    assert "TTFT" in done.stdout and "goodput" in done.stdout
    figures = json.loads(file.read_text())
    assert figures["completed"] == 30 and figures["errors"] == {}
    assert figures["itl_ms"]["count"] == 30 * 7
    assert figures["kv_transfer"]["bytes"] > 0
    assert figures["good_share"] == 1.0


def test_check_knows_the_policies():
    done = run(BIN / "baton", "check", "--set", "router.placement=quickest")
    assert done.returncode != 0
    assert "router.placement: there is no policy 'quickest'; there are cost" in done.stderr


def test_check_knows_the_model():
    done = run(BIN / "baton", "check", "--model", SOURCE / "models/baton-demo", "--set", "decode.kv_blocks=100")
    assert done.returncode == 0, done.stderr
    assert "100 blocks, 1600 tokens" in done.stdout
    assert "longest context              1600 tokens" in done.stdout
