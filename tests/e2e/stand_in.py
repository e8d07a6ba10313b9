#!/usr/bin/env python3
"""Stands in for baton-router or a worker, so that the supervisor is tested without a model.

Its name decides what it is. The router serves /health/ready, /debug/cluster and /metrics; workers register
by a file beside the port files and unregister when they end. STAND_IN_<NAME> in the environment makes one
misbehave: "exit:<code>" ends at once, "deaf" ignores SIGTERM.
"""
import http.server
import json
import os
import signal
import sys
import threading
import time

flags = dict(a[2:].split("=", 1) for a in sys.argv[1:] if a.startswith("--") and "=" in a)
program = os.path.basename(sys.argv[0])
name = flags.get("worker-id", "router")
folder = os.path.dirname(flags["ports-file"])


def log(level, room, message, **fields):
    line = {"ts": "2026-01-01T00:00:00.000000Z", "level": level, "process": name, "room": room, "msg": message}
    print(json.dumps(line | fields), file=sys.stderr, flush=True)


def write_ports(ports):
    with open(flags["ports-file"] + ".part", "w") as file:
        json.dump(ports, file)
    os.rename(flags["ports-file"] + ".part", flags["ports-file"])


def alive(pid):
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        workers = []
        for entry in os.listdir(folder):
            if entry.endswith(".registered"):
                pid = int(open(os.path.join(folder, entry)).read() or 0)
                if pid and alive(pid):
                    load = {"running": 1, "waiting": 0, "prompt_tokens": 10, "output_tokens": 5, "kv_bytes": 2048}
                    workers.append({"id": entry.removesuffix(".registered") + "@1", "load": load, "reachable": True})
        decode = any(w["id"].startswith("decode") for w in workers)
        status, body = 404, ""
        if self.path == "/health/ready":
            status = 200 if decode else 503
        elif self.path == "/debug/cluster":
            status, body = 200, json.dumps({"workers": workers})
        elif self.path == "/metrics":
            status, body = 200, 'baton_requests_total{outcome="completed"} 7\n'
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


def main():
    behaviour = os.environ.get("STAND_IN_" + name.upper().replace("-", "_"), "")
    if behaviour.startswith("exit:"):
        log("error", "worker", "model.safetensors: the header is cut off")
        sys.exit(int(behaviour[5:]))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: None if behaviour == "deaf" else stop.set())
    with open(os.path.join(folder, name + ".argv"), "w") as file:
        json.dump(sys.argv, file)
    if program == "baton-router":
        host, port = flags["http"].rsplit(":", 1)
        server = http.server.ThreadingHTTPServer((host, int(port)), Door)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        http_address = f"{host}:{server.server_address[1]}"
        grpc = flags["grpc"] if not flags["grpc"].endswith(":0") else "127.0.0.1:9"
        write_ports({"http": http_address, "grpc": grpc})
    else:
        for percent in (0, 50, 100):
            log("info", "model", "loading weights", percent=percent)
        with open(os.path.join(folder, name + ".registered"), "w") as file:
            file.write(str(os.getpid()))
    while not stop.wait(0.05):
        pass
    log("info", "worker", "drained")


main()
