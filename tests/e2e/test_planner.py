"""A planner beside a real cluster: what it says is what routers and workers measured."""
import json
import pathlib
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster import BIN, Up, wait_until

REQUESTS, TOKENS = 12, 16


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    with Up(tmp_path_factory.mktemp("up") / "run", "--set", "prefill.kv_memory=16MiB", "--set", "decode.kv_memory=16MiB",
            "--placement", "always-remote") as cluster:
        yield cluster.wait_ready()
        assert cluster.stop() == 0


class Planner:
    def __init__(self, folder, up, *flags):
        self.ports = pathlib.Path(folder) / "planner.json"
        self.process = subprocess.Popen(
            [BIN / "baton-planner", "--router", up.http.removeprefix("http://"), "--grpc", "127.0.0.1:0", "--http",
             "127.0.0.1:0", "--interval", "200ms", "--ports-file", self.ports, *flags], stderr=subprocess.PIPE, text=True)
        wait_until(self.ports.exists, what="the planner listens")
        self.http = json.loads(self.ports.read_text())["http"]

    def page(self, path):
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=5) as reply:
            return reply.read().decode()

    def plan(self):
        return json.loads(self.page("/plan"))["plan"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(30) == 0
        self.log = self.process.stderr.read()


def ask(up, number):
    body = {"prompt": f"{number} is a number. What comes after it?", "max_tokens": TOKENS, "ignore_eos": True}
    call = urllib.request.Request(up.http + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(call, timeout=60) as reply:
        return json.load(reply)["usage"]


def test_its_figures_are_those_of_the_cluster(up, tmp_path):
    with Planner(tmp_path, up, "--steady", "10m", "--recent", "10m") as planner:
        plan = wait_until(planner.plan, what="a first plan")
        assert plan["routers"] == {"answered": 1, "failed": 0}
        assert {pool: each["present"] for pool, each in plan["pools"].items()} == {"prefill": 1, "decode": 1}
        with ThreadPoolExecutor(4) as clients:
            usages = list(clients.map(lambda number: ask(up, number), range(REQUESTS)))
        # Routers publish what has ended a moment later.
        traffic = wait_until(
            lambda: (steady := planner.plan()["traffic"]["steady"])["output_tokens"] and steady, what="requests are seen")
        prompt = sum(usage["prompt_tokens"] for usage in usages) / REQUESTS
        wait_until(lambda: abs(planner.plan()["traffic"]["steady"]["prompt_tokens"] - prompt) < 1e-3,
                   what=lambda: f"{prompt} tokens a prompt: {planner.plan()['traffic']}")
        assert traffic["requests_per_second"] > 0
        wait_until(lambda: abs(planner.plan()["traffic"]["steady"]["output_tokens"] - TOKENS) < 1e-3,
                   what=lambda: f"{TOKENS} tokens an answer: {planner.plan()['traffic']}")
        plan = planner.plan()
        for pool in plan["pools"].values():
            assert pool["desired"] == 1 and pool["workers"] == 1, pool
            assert "measured itself" not in pool["text"], "workers have told how fast they are"
        metrics = planner.page("/metrics")
        assert 'baton_planner_desired_replicas{pool="decode"} 1' in metrics
        assert 'baton_planner_present_replicas{pool="prefill"} 1' in metrics
    assert "decided" in planner.log


def test_what_waits_for_places_asks_for_more_decode_workers(up, tmp_path):
    with Planner(tmp_path, up, "--itl-target", "1ms", "--decode-max", "3", "--catch-up", "100ms") as planner:
        wait_until(planner.plan, what="a first plan")
        with ThreadPoolExecutor(24) as clients:
            answers = [clients.submit(ask, up, number) for number in range(96)]
            grown = wait_until(lambda: (pool := planner.plan()["pools"]["decode"])["desired"] > 1 and pool,
                               what=lambda: planner.page("/plan"))
            assert grown["reason"] in ("itl", "queue", "arrivals", "max", "cool_down"), grown
            assert grown["desired"] <= 3
            assert all(answer.result()["completion_tokens"] == TOKENS for answer in answers)
