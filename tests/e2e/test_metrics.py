"""docs/operations/metrics.md is what the programs export, also after requests have run and failed."""
import importlib.util
import json
import subprocess
import urllib.error
import urllib.request

import pytest

from cluster import BIN, SOURCE, Up, wait_until
from test_planner import Planner

_spec = importlib.util.spec_from_file_location("observe_metrics", SOURCE / "tools/observe/metrics.py")
metrics = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(metrics)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """What every process exports once requests have been answered, refused and cancelled."""
    with Up(tmp_path_factory.mktemp("up") / "run", "--placement", "always-remote", *metrics.CLUSTER_FLAGS) as up:
        up.wait_ready()
        with Planner(tmp_path_factory.mktemp("planner"), up) as planner:
            wait_until(planner.plan, what="a first plan")
            assert ask(up, {"prompt": "What is a KV cache? " * 20, "max_tokens": 4, "ignore_eos": True}) == 200
            assert ask(up, {"prompt": "What is a KV cache?", "logprobs": 1, "echo": True, "max_tokens": 0}) == 200
            assert ask(up, {"model": "nobody", "prompt": "Hello"}) == 404
            assert ask(up, {"prompt": 7.5}) == 400
            wait_until(lambda: 'outcome="completed"} 2' in metrics.get(f"{up.http}/metrics"), what="two have ended")
            yield metrics.read_cluster(up.http, f"http://{planner.http}")
        assert up.stop() == 0, up.output


def ask(up, body):
    request = urllib.request.Request(f"{up.http}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            reply.read()
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_page_is_what_a_cluster_that_has_worked_exports(pages):
    assert metrics.render(pages) == metrics.PAGE.read_text(), "tools/observe/metrics.py writes the page anew"


def test_a_cluster_that_has_done_nothing_exports_the_same(tmp_path):
    subprocess.run([SOURCE / "tools/observe/metrics.py", "--bin", BIN, "--out", tmp_path / "page.md"], check=True, timeout=120)
    assert (tmp_path / "page.md").read_text() == metrics.PAGE.read_text()


def test_names_and_help_say_what_a_reader_needs(pages):
    for texts in pages.values():
        for name, family in metrics.merge(texts).items():
            assert family.help, f"{name} has no help"
            if name.startswith("baton_") and family.kind == "counter":
                assert name.endswith("_total"), name
            if family.kind == "gauge":
                assert not name.endswith("_total"), name
