"""The processes of one cluster: started, stopped, killed, and started again when they die."""
import errno
import fcntl
import json
import mmap
import os
import pathlib
import signal
import struct
import subprocess
import termios
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = pathlib.Path(os.environ.get("BATON_SOURCE_DIR", HERE.parents[1]))
BIN = pathlib.Path(os.environ.get("BATON_BIN_DIR", SOURCE / "build/release/bin"))
MODEL = pathlib.Path(os.environ.get("BATON_E2E_MODEL", SOURCE / "models/baton-demo"))

HTTP, GRPC, METRICS = 8000, 9000, 9100
RESTART_AFTER = 0.2
PIPE_BYTES = 4096  # of a log pipe: a reader that stops is noticed after a few lines
F_SETPIPE_SZ = 1031
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"]  # with the thread that starts it


class LogPipe:
    """What a process writes its log to; somebody reads it, until the fault says otherwise."""

    def __init__(self, path):
        self._path = path
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, F_SETPIPE_SZ, PIPE_BYTES)
        self._fill_end = os.dup(self.write_end)
        self._is_gone = False
        self._reading = threading.Event()
        self._reading.set()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        with open(self._path, "ab") as file:
            while self._reading.wait():
                try:
                    line = os.read(self.read_end, PIPE_BYTES)
                except OSError:
                    return  # hung up
                if not line:
                    return
                file.write(line.replace(b"\n\n", b""))  # what stall() has filled in
                file.flush()

    def stall(self):
        """Nobody reads any more, and the pipe is full: a writer that waits for room waits until go_on()."""
        self._reading.clear()
        if self._is_gone:
            return
        held = int.from_bytes(fcntl.ioctl(self.read_end, termios.FIONREAD, bytes(4)), "little")
        os.write(self._fill_end, b"\n" * max(0, PIPE_BYTES - 1 - held))

    def go_on(self):
        self._reading.set()

    def hang_up(self):
        """The reader goes: the writer gets EPIPE from now on."""
        self._reading.set()
        self._is_gone = True
        nothing = os.open("/dev/null", os.O_RDONLY)
        os.dup2(nothing, self.read_end)
        os.close(nothing)


class Member:
    """One process of the cluster under its name. `role`: router, prefill or decode."""

    def __init__(self, role, name, host, argv, cluster, piped_log):
        self.role, self.name, self.host = role, name, host
        self._argv = argv
        self._cluster = cluster
        self._piped_log = piped_log
        self.pipe = None
        self.process = None
        self.deaths = []  # (when, how), those that nobody wanted
        self._died_at = None
        self.wanted_dead = False
        self.stopped = False
        self.started_at = 0.0
        self.clock = self._open_clock()

    def _open_clock(self):
        path = self._cluster.folder / f"{self.name}.clock"
        path.write_bytes(struct.pack("q", 0))
        with open(path, "r+b") as file:
            return mmap.mmap(file.fileno(), 8)

    def skew(self, seconds):
        self.clock[:] = struct.pack("q", int(seconds * 1000))

    def start(self):
        self.wanted_dead = False
        self.stopped = False
        environment = dict(os.environ)
        if self._cluster.skewed_clock:
            environment["LD_PRELOAD"] = str(self._cluster.skewed_clock)
            environment["SKEWED_CLOCK_FILE"] = str(self._cluster.folder / f"{self.name}.clock")
        log = self._open_log()
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            DIES_WITH_US + self._cluster.place.command(self.name, self._argv), stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, env=environment, start_new_session=True)
        os.close(log)
        self._cluster.pids.add(self.process.pid)

    def _open_log(self):
        path = self._cluster.log_folder / f"{self.name}.log"
        if not self._piped_log:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.pipe = LogPipe(self._cluster.folder / f"{self.name}.log")
        return self.pipe.write_end

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.wanted_dead = True
        self.process.send_signal(signal.SIGKILL)

    def stop(self):
        self.stopped = True
        self.process.send_signal(signal.SIGSTOP)

    def cont(self):
        self.stopped = False
        self.process.send_signal(signal.SIGCONT)

    def slow_down(self):
        """It gets a tenth of its time, in slices of 10 ms, until `let_go`."""
        self._hindered = threading.Event()
        self._hinderer = threading.Thread(target=self._hinder, args=(self.process, self._hindered), daemon=True)
        self._hinderer.start()

    @staticmethod
    def _hinder(process, over):
        try:
            while not over.is_set():
                process.send_signal(signal.SIGSTOP)
                over.wait(0.09)
                process.send_signal(signal.SIGCONT)
                over.wait(0.01)
        finally:
            process.send_signal(signal.SIGCONT)

    def let_go(self):
        self._hindered.set()
        self._hinderer.join()

    def terminate(self):
        self.wanted_dead = True
        if self.stopped:
            self.cont()
        self.process.send_signal(signal.SIGTERM)

    def look_after(self):
        """Starts it again, a moment after it has died."""
        if self.process is None or self.process.poll() is None:
            return
        now = time.monotonic()
        if self._died_at is None:
            self._died_at = now
            if not self.wanted_dead:
                self.deaths.append((now, self.process.returncode))
        elif now - self._died_at >= RESTART_AFTER:
            self._died_at = None
            self.start()

    def __str__(self):
        return self.name


class Cluster:
    """Routers, prefill and decode workers; a thread starts again what dies."""

    def __init__(self, place, folder, log_folder, skewed_clock, num_routers=2, num_prefill=2, num_decode=2,
                 flags=None):
        self.place = place
        self.folder, self.log_folder = folder, log_folder
        self.skewed_clock = skewed_clock
        self.pids = set()
        self.members = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()  # nothing is started any more
        self._over = threading.Event()
        counts = {"router": num_routers, "prefill": num_prefill, "decode": num_decode}
        hosts = {f"{role}-{i}": place.add(f"{role}-{i}") for role, count in counts.items() for i in range(count)}
        routers = ",".join(f"{host}:{GRPC}" for name, host in hosts.items() if name.startswith("router"))
        for name, host in hosts.items():
            role, number = name.split("-")
            argv = self._argv(role, name, host, routers) + (flags or {}).get(name, []) + (flags or {}).get(role, [])
            self.members[name] = Member(role, name, host, argv, self, piped_log=number == "0")

    def _argv(self, role, name, host, routers):
        common = ["--model", str(MODEL), "--log-level", "debug", "--log-format", "json"]
        if role == "router":
            return [str(BIN / "baton-router"), "--http", f"{host}:{HTTP}", "--grpc", f"{host}:{GRPC}", *common]
        return [str(BIN / f"baton-{role}-worker"), "--worker-id", name, "--router", routers, "--grpc",
                f"{host}:{GRPC}", "--metrics", f"{host}:{METRICS}", "--threads", "1", *common]

    def of(self, role):
        return [member for member in self.members.values() if member.role == role]

    @property
    def workers(self):
        return self.of("prefill") + self.of("decode")

    def start(self):
        for member in self.members.values():
            member.start()
        threading.Thread(target=self._keep_up, daemon=True).start()

    def _keep_up(self):
        while not self._over.wait(0.02):  # to the very end: what it started dies with it
            with self._lock:
                for member in self.members.values():
                    if not self._ending.is_set():
                        member.look_after()

    def stop(self, patience=30.0):
        """All of it, as a supervisor would: routers first. How each ended that did not end well."""
        self._ending.set()
        bad = []
        with self._lock:
            for roles in (("router",), ("prefill", "decode")):
                ending = [m for role in roles for m in self.of(role) if m.alive]
                for member in ending:
                    member.terminate()
                deadline = time.monotonic() + patience
                for member in ending:
                    try:
                        code = member.process.wait(max(0.1, deadline - time.monotonic()))
                    except subprocess.TimeoutExpired:
                        code = "did not end"
                        member.process.kill()
                        member.process.wait()
                    if code != 0:
                        bad.append(f"{member} ended with {code}")
        return bad

    def close(self):
        """Whatever has happened: nothing runs any more."""
        self._ending.set()
        with self._lock:
            for member in self.members.values():
                if member.alive:
                    member.process.kill()
                    member.process.wait()
        self._over.set()


def get(member, path, port=HTTP, timeout=2.0):
    with urllib.request.urlopen(f"http://{member.host}:{port}{path}", timeout=timeout) as reply:
        return reply.read()


def debug(router, path="/debug/cluster"):
    return json.loads(get(router, path))


def build_skewed_clock(folder):
    """The preloaded library; None and why when it cannot be built."""
    library = folder / "skewed_clock.so"
    try:
        done = subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "skewed_clock.c"),
                               "-ldl"], capture_output=True, text=True, timeout=60)
    except OSError as error:
        return None, f"no C compiler: {errno.errorcode.get(error.errno, error)}"
    return (library, "") if done.returncode == 0 else (None, done.stderr.strip())
