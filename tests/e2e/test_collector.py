"""The collector's configuration, as it is, in a real collector: traces go through it to Jaeger, and become metrics."""
import os
import secrets
import subprocess
import urllib.request

import pytest

from cluster import SOURCE, Up, wait_until
from test_jaeger import JAEGER, Jaeger, ask, free_ports, pytestmark  # noqa: F401: Jaeger's binary is a collector, too

PORTS = ("COLLECTOR_GRPC", "COLLECTOR_HTTP", "COLLECTOR_METRICS")


class Collector:
    def __init__(self, log, jaeger):
        self.ports = dict(zip(PORTS, free_ports(len(PORTS))))
        addresses = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.process = subprocess.Popen(
            [JAEGER, "--config", SOURCE / "deploy/observability/collector.yaml"], stdout=log, stderr=log,
            env=os.environ | addresses | {"JAEGER": f"127.0.0.1:{jaeger.ports['JAEGER_OTLP_GRPC']}"})
        wait_until(lambda: self.process.poll() is not None or self.metrics() is not None, 20, "the collector is up")
        assert self.process.poll() is None, "the collector ended"

    def metrics(self):
        """Its Prometheus page; None while it is not there yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['COLLECTOR_METRICS']}/metrics", timeout=5) as page:
                return page.read().decode()
        except OSError:
            return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()  # how long it takes to end well is not our claim
        self.process.wait()


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_traces_go_through_the_collector_and_become_metrics(tmp_path, door):
    with open(tmp_path / "log", "wb") as log, Jaeger(log) as jaeger, Collector(log, jaeger) as collector:
        endpoint = f"{door}://127.0.0.1:{collector.ports[f'COLLECTOR_{door.upper()}']}"
        with Up(tmp_path / "run", "--placement", "always-remote", "--trace-endpoint", endpoint) as up:
            up.wait_ready()
            trace = secrets.token_hex(16)
            ask(up, trace)
            names = {span["operationName"] for span in jaeger.trace(trace)["spans"]}
            assert {"request", "prefill", "kv_transfer", "decode"} <= names
            assert up.stop() == 0, up.output

        def lines(metric, service, span):
            return [line for line in (collector.metrics() or "").splitlines() if line.startswith(metric + "{")
                    and f'service_name="{service}"' in line and f'span_name="{span}"' in line]
        for service, span in (("baton-router", "request"), ("baton-prefill-worker", "kv_transfer"), ("baton-decode-worker", "decode")):
            wait_until(lambda: lines("baton_spans_calls_total", service, span), 30,
                       lambda: f"{service} {span}\n{collector.metrics()}")
            assert lines("baton_spans_duration_milliseconds_count", service, span)
