"""Two models behind one router, each with workers of its own."""
import json
import subprocess
import urllib.error
import urllib.request

import pytest

import baton_client as baton
from cluster import BIN, MODEL, Up, wait_until

PROMPT = "A router in front of two models sends each request to the workers of its own. " * 6


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    with Up(tmp_path_factory.mktemp("up") / "run", "--placement", "always-remote", "--set", "prefill.kv_memory=64MiB",
            "--set", "decode.kv_memory=64MiB", "--set", f"router.models=second={MODEL}") as up:
        up.wait_ready()
        pool = [subprocess.Popen([str(BIN / f"baton-{role}-worker"), "--model", str(MODEL), "--model-name", "second",
                                  "--router", up.grpc, "--worker-id", f"second-{role}", "--kv-memory", "64MiB"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for role in ("prefill", "decode")]
        try:
            wait_until(lambda: sum(w["model"] == "second" and w["reachable"] for w in up.debug()["workers"]) == 2, 30,
                       "the second model's workers are there")
            yield up
        finally:
            for process in pool:
                process.terminate()
            for process in pool:
                process.wait(30)


def answer(up, model):
    with baton.Client(up.grpc) as client:
        sampling = baton.Sampling(temperature=0, max_tokens=8)
        return client.generate(PROMPT, model=model, sampling=sampling, timeout=60).answer()


def completion(up, body):
    request = urllib.request.Request(f"{up.http}/v1/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_each_models_requests_run_on_its_own_workers(up):
    first, second = answer(up, "baton-demo"), answer(up, "second")
    assert first.text == second.text, "the same weights under two names"
    assert first.started.prefill_worker.startswith("prefill-0@") and first.started.decode_worker.startswith("decode-0@")
    assert second.started.prefill_worker.startswith("second-prefill") and second.started.decode_worker.startswith("second-decode")


def test_a_request_that_names_no_model_is_told_which_there_are(up):
    status, body = completion(up, {"prompt": "x"})
    assert status == 400 and body["error"]["param"] == "model"
    assert "baton-demo" in body["error"]["message"] and "second" in body["error"]["message"]


def test_both_are_listed_and_counted_apart(up):
    with urllib.request.urlopen(f"{up.http}/v1/models", timeout=10) as reply:
        assert {model["id"] for model in json.load(reply)["data"]} == {"baton-demo", "second"}
    assert completion(up, {"model": "second", "prompt": "x", "max_tokens": 1})[0] == 200
    with urllib.request.urlopen(f"{up.http}/metrics", timeout=10) as reply:
        page = reply.read().decode()
    for model in ("baton-demo", "second"):
        assert f'baton_requests_total{{model="{model}",outcome="completed"}}' in page


def test_a_name_that_two_models_have_is_refused():
    for flags, words in ((["--models", f"baton-demo={MODEL}"], "baton-demo"), (["--models", "second=nowhere"], "second")):
        run = subprocess.run([str(BIN / "baton-router"), "--model", str(MODEL), "--http", "127.0.0.1:0", "--grpc",
                              "127.0.0.1:0", *flags], capture_output=True, text=True, timeout=60)
        assert run.returncode == 78 and words in run.stderr + run.stdout
