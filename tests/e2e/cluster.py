"""Starts `baton up` for tests and talks to it."""
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import threading
import time
import urllib.request

SOURCE = pathlib.Path(os.environ.get("BATON_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
BIN = pathlib.Path(os.environ.get("BATON_BIN_DIR", SOURCE / "build/release/bin"))
IMAGE = SOURCE / "deploy/image.sh"
IMAGE_NAME = "registry.test/baton:claim"
MODEL = pathlib.Path(os.environ.get("BATON_E2E_MODEL", SOURCE / "models/baton-demo"))


def wait_until(condition, patience=30.0, what="condition"):
    """Polls: there is no event to wait for across processes."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what() if callable(what) else what}")
        time.sleep(0.02)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"


class Up:
    """One `baton up`, its output lines and its runtime folder."""

    def __init__(self, runtime, *flags, baton=None, env=None, model=None, ports=("127.0.0.1:0", "127.0.0.1:0")):
        self.runtime = pathlib.Path(runtime)
        command = [str(baton or BIN / "baton"), "up", "--model", str(model or MODEL)]
        command += ["--http", ports[0], "--grpc", ports[1], "--runtime-dir", str(runtime), *flags]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env=os.environ | (env or {}), start_new_session=True)
        self.lines = []
        self.news = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self.news.put(line)
        self.news.put(None)

    @property
    def output(self):
        return "\n".join(self.lines)

    def wait_for(self, pattern, patience=60.0):
        """The first line that matches, from the beginning."""
        return wait_until(lambda: self.match(pattern) or self._must_run(pattern), patience,
                          lambda: f"{pattern}\n{self.output}\n{self.logs()}")

    def logs(self):
        """The last lines of each process."""
        tails = (f"{log.name}:\n" + "\n".join(log.read_text().splitlines()[-5:]) for log in sorted(self.runtime.glob("*.log")))
        return "\n".join(tails)

    def match(self, pattern):
        return next((found for line in list(self.lines) if (found := re.search(pattern, line))), None)

    def _must_run(self, pattern):
        if self.process.poll() is not None and not self.match(pattern):
            self.reader.join(5)  # its last lines may still be in the pipe
            if not self.match(pattern):
                raise AssertionError(f"baton up ended with {self.process.returncode}:\n{self.output}")

    def wait_ready(self, patience=60.0):
        self.wait_for("Baton is ready", patience)
        self.http = self.wait_for(r"OpenAI API +(http://\S+)/v1")[1]
        self.grpc = self.wait_for(r"gRPC +(\S+)")[1]
        return self

    def pids(self):
        """name -> pid of the children, from the kernel."""
        found = {}
        for child in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            try:
                argv = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
            except FileNotFoundError:
                continue
            name = next((a.split("=", 1)[1] for a in argv if a.startswith("--worker-id=")), "router")
            found[name] = int(child)
        return found

    def debug(self):
        with urllib.request.urlopen(self.http + "/debug/cluster", timeout=5) as reply:
            return json.load(reply)

    def signal(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def wait_end(self, patience=60.0):
        code = self.process.wait(patience)
        while self.news.get(timeout=5) is not None:
            pass
        return code

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
            try:
                return self.wait_end()
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
