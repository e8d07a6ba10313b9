"""What a router adds to a request, Baton's and others', in turn in one run. See bench/run.sh.

Behind Baton's router stands a worker that speaks its protocol, behind the others an OpenAI API over HTTP; both answer
at once. `direct` is that API without anything in between. CPU is what the router's processes have used by the
kernel's count, so it does not matter who else is on the machine; times do depend on that.
"""
import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICK = os.sysconf("SC_CLK_TCK")

# name -> what `router_bench load` is asked for
LOADS = {
    "one": {"concurrency": 1, "requests": 1000, "max-tokens": 1, "prompt-bytes": 1300},
    "ids": {"concurrency": 1, "requests": 1000, "max-tokens": 1, "token-ids": 325},  # nothing to encode
    "burst": {"concurrency": 16, "requests": 300, "max-tokens": 128, "prompt-bytes": 1300},
    "many": {"concurrency": 64, "requests": 600, "max-tokens": 128, "prompt-bytes": 1300},
    "long": {"concurrency": 4, "requests": 60, "max-tokens": 1, "prompt-bytes": 220_000},
    "shared": {"concurrency": 4, "requests": 200, "max-tokens": 1, "prompt-bytes": 220_000, "shared-bytes": 210_000},
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True, help="what bench/peers/install.sh has filled")
    parser.add_argument("--bin", type=Path, required=True, help="folder with baton-router and router_bench")
    parser.add_argument("--rounds", type=int, default=3, help="how often each router has its turn")
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON")
    return parser.parse_args()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A program and all that it starts, in a session of its own."""

    def __init__(self, command, log, env=None):
        self.log = log
        with open(log, "w") as out:
            self.child = subprocess.Popen([str(word) for word in command], stdout=out, stderr=out, cwd=ROOT,
                                          env={**os.environ, **(env or {})}, start_new_session=True)

    def members(self):
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.child.pid:  # session
                yield fields

    def cpu_seconds(self):
        return sum(int(fields[11]) + int(fields[12]) for fields in self.members()) / TICK

    def resident_mib(self):
        return sum(int(fields[21]) for fields in self.members()) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self):
        try:
            os.killpg(self.child.pid, 9)
        except ProcessLookupError:
            pass
        self.child.wait()


class NotReady(Exception):
    """A router that does not start, or does not pass on what stands behind it."""


class Router:
    """One that is measured: how to start it in front of the upstream at `port`; gives its own address."""

    def __init__(self, name, start, missing=False):
        self.name, self.start, self.missing = name, start, missing
        self.figures = {}  # (load, figure) -> one value per round

    def note(self, load, figure, value):
        self.figures.setdefault((load, figure), []).append(value)

    def median(self, load, figure):
        values = self.figures.get((load, figure))
        return statistics.median(values) if values else None


def start_baton(options, folder, _upstream):
    ports = folder / "ports.json"
    ports.unlink(missing_ok=True)  # of an earlier turn
    router = Process([options.bin / "baton-router", "--model", "models/baton-demo", "--http", "127.0.0.1:0", "--grpc",
                      "127.0.0.1:0", "--max-inflight", 4096, "--ports-file", ports, "--log-level", "warning"],
                     folder / "baton.log")
    try:
        wait_for(ports.exists, "baton-router", router)
    except NotReady:
        router.stop()
        raise
    addresses = json.loads(ports.read_text())
    worker = Process([options.bin / "router_bench", "burst-worker", "--router", addresses["grpc"]],
                     folder / "worker.log")
    return router, addresses["http"], [worker]


def start_nginx(options, folder, upstream):
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_max_body_size 8m; client_body_buffer_size 1m; client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream behind {{ server 127.0.0.1:{upstream}; keepalive 256; }}
  server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000;
    location / {{ proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}""")
    return Process([options.peers / "apt/usr/sbin/nginx", "-c", config, "-p", folder], folder / "nginx.log"), f"127.0.0.1:{port}", []


def start_haproxy(options, folder, upstream):
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(f"""
global
  maxconn 8192
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-no-delay
listen front
  bind 127.0.0.1:{port}
  server behind 127.0.0.1:{upstream}
""")
    libraries = {"LD_LIBRARY_PATH": str(options.peers / "apt/usr/lib/x86_64-linux-gnu")}
    return Process([options.peers / "apt/usr/sbin/haproxy", "-db", "-f", config], folder / "haproxy.log", libraries), f"127.0.0.1:{port}", []


def start_sglang(options, folder, upstream):
    port = free_port()
    command = [options.peers / "venv/bin/python", "-m", "sglang_router.launch_router", "--worker-urls",
               f"http://127.0.0.1:{upstream}", "--host", "127.0.0.1", "--port", port, "--prometheus-port", free_port(),
               "--policy", "cache_aware", "--log-level", "error"]
    return Process(command, folder / "sglang.log"), f"127.0.0.1:{port}", []


def routers(options):
    apt = options.peers / "apt/usr/sbin"
    sglang = any(options.peers.glob("venv/lib/python3*/site-packages/sglang_router"))
    return [Router("direct", lambda options, folder, upstream: (None, f"127.0.0.1:{upstream}", [])),
            Router("Baton", start_baton),
            Router("nginx", start_nginx, missing=not (apt / "nginx").exists()),
            Router("HAProxy", start_haproxy, missing=not (apt / "haproxy").exists()),
            Router("sglang-router", start_sglang, missing=not sglang)]


def wait_for(condition, what, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end or (process and process.child.poll() is not None):
            raise NotReady(f"{what} is not ready:\n{process.log.read_text()[-2000:] if process else ''}")
        time.sleep(0.05)


def load(options, address, wanted, **instead):
    words = [word for key, value in {**wanted, **instead}.items() for word in (f"--{key}", str(value))]
    done = subprocess.run([str(options.bin / "router_bench"), "load", "--address", address, *words],
                          capture_output=True, text=True)
    return json.loads(done.stdout) if done.stdout.startswith("{") else sys.exit(done.stderr)


def answers(options, address):
    try:
        with urllib.request.urlopen(f"http://{address}/v1/models", timeout=1):
            return load(options, address, LOADS["one"], requests=1)["failed"] == 0
    except OSError:
        return False


def take_turn(options, router, folder, upstream):
    process, address, others = router.start(options, folder, upstream)
    try:
        wait_for(lambda: answers(options, address), router.name, process)
        load(options, address, LOADS["burst"], requests=50)
        for name, wanted in LOADS.items():
            before = process.cpu_seconds() if process else 0
            told = load(options, address, wanted)
            if told["failed"]:
                print(f"{router.name}, {name}: {told['failed']} failed, first: {told['first_failure']}", file=sys.stderr)
                continue
            cpu = (process.cpu_seconds() if process else 0) - before
            router.note(name, "cpu_us", cpu * 1e6 / told["requests"])
            router.note(name, "per_second", told["requests"] / told["seconds"])
            for figure in ("ttft_ms_p50", "ttft_ms_p99"):
                router.note(name, figure, told[figure])
        if process:
            router.note("after", "resident_mib", process.resident_mib())
    finally:
        for one in [process, *others]:
            if one:
                one.stop()


def cell(value, digits):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(present):
    direct = present[0]
    yield ("| | added TTFT p50, ms | p99 | CPU per request, µs | of token ids | CPU per chunk, µs | requests/s of 128 chunks, 64 at a time "
           "| requests/s of 220 KB | of 220 KB, 210 of them shared | resident, MiB |")
    yield "| --- " * 10 + "|"
    for router in present:
        of = router.median
        added = lambda figure: None if of("one", figure) is None else of("one", figure) - direct.median("one", figure)
        chunk = None if None in (of("burst", "cpu_us"), of("one", "cpu_us")) else (of("burst", "cpu_us") - of("one", "cpu_us")) / 127
        own = router is not direct
        yield (f"| {router.name} | {cell(added('ttft_ms_p50'), 2) if own else '(' + cell(of('one', 'ttft_ms_p50'), 2) + ')'} "
               f"| {cell(added('ttft_ms_p99'), 2) if own else '(' + cell(of('one', 'ttft_ms_p99'), 2) + ')'} "
               f"| {cell(of('one', 'cpu_us'), 0) if own else '-'} | {cell(of('ids', 'cpu_us'), 0) if own else '-'} | {cell(chunk, 1) if own else '-'} "
               f"| {cell(of('many', 'per_second'), 0)} | {cell(of('long', 'per_second'), 0)} "
               f"| {cell(of('shared', 'per_second'), 0)} "
               f"| {cell(of('after', 'resident_mib'), 0) if own else '-'} |")


def main():
    options = arguments()
    everyone = routers(options)
    for router in everyone:
        if router.missing:
            print(f"{router.name}: skipped, not installed (bench/peers/install.sh)")
    present = [router for router in everyone if not router.missing]
    folder = Path(tempfile.mkdtemp(prefix="baton-router-bench-"))
    port = free_port()
    upstream = Process([options.bin / "router_bench", "upstream", "--port", port], folder / "upstream.log")
    try:
        for turn in range(options.rounds):
            for router in present:
                print(f"round {turn + 1} of {options.rounds}: {router.name}", file=sys.stderr, flush=True)
                try:
                    take_turn(options, router, folder, port)
                except NotReady as reason:
                    if router in present[:2]:  # without the upstream or Baton there is nothing to compare
                        sys.exit(str(reason))
                    print(f"{router.name}: left out. {reason}", file=sys.stderr)
        present = [router for router in present if router.figures]
    finally:
        upstream.stop()
    shutil.rmtree(folder)
    print(f"\nmedian of {options.rounds} turns\n")
    print("\n".join(table(present)))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    busy = " ".join(f"{load:.1f}" for load in os.getloadavg())
    figures = {router.name: {f"{name} {figure}": [round(value, 3) for value in values]
                             for (name, figure), values in router.figures.items()} for router in present}
    (options.out / "router.json").write_text(json.dumps({
        "commit": commit, "command": f"ROUNDS={options.rounds} bench/run.sh router",
        "machine": f"{os.cpu_count()} cores (shared), {platform.machine()}; load average {busy}", "loads": LOADS,
        "figures": figures}, indent=1) + "\n")


main()
