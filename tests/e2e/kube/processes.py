"""Starts programs that run as long as a cluster does, and ends every one of them."""
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def ends_with_us():
    """In the child: killed when the test ends without having ended it, by a signal nobody can catch for instance."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_ports(count):
    """Nobody holds them when they are named; others of this machine rarely take one meanwhile."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Processes:
    def __init__(self, logs):
        self.logs = pathlib.Path(logs)
        self.logs.mkdir(parents=True)
        self.running = {}

    def start(self, name, *command, env=None):
        with (self.logs / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=ends_with_us, env=os.environ | (env or {}))
        return self.running[name]

    def ended(self):
        """name: last line of the log, of those that should run and do not."""
        return {name: self.last_words(name) for name, process in self.running.items() if process.poll() is not None}

    def last_words(self, name):
        lines = (self.logs / f"{name}.log").read_text(errors="replace").splitlines()
        return lines[-1][:300] if lines else "said nothing"

    def stop(self, *names):
        """Those, or all. The API server waits a minute for its watchers: after two seconds nobody is asked any more."""
        stopping = [self.running.pop(name) for name in names or list(self.running)[::-1] if name in self.running]
        for process in stopping:
            process.terminate()
        deadline = time.monotonic() + 2
        for process in stopping:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
