"""Runs chats.py in a node's network, and tells what its clients were told."""
import json
import pathlib
import queue
import subprocess
import sys
import threading
import time

from processes import ends_with_us
from steps import Failed, wait_for

CHATS = pathlib.Path(__file__).with_name("chats.py")


class Load:
    def __init__(self, node, front, clients=6, tokens=160, pause=0.0):
        url = f"{front.url}/v1/chat/completions"
        self.process = subprocess.Popen([*node.inside, sys.executable, CHATS, url, str(clients), str(tokens), str(pause)],
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=ends_with_us,
                                        env=front.client())
        self.clients, self.answers, self.known = clients, [], queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.known.get(timeout=180)
        self.settled()

    def _read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if said == "known":
                self.known.put(said)
            else:
                self.answers.append(said)

    def settled(self, seconds=90):
        """Waits until each client has had an answer to what it asked after now: nothing that was asked before is under way."""
        began = now()
        wait_for(lambda: len({each["client"] for each in list(self.answers) if each["sent"] >= began}) == self.clients, seconds,
                 lambda: f"an answer to each of {self.clients} clients; the last: {self.answers[-3:]}")

    def since(self, began, when="ended"):
        """How many were answered well, and what others were told, of all that ended, or were sent, since then."""
        heard = [each["outcome"] for each in list(self.answers) if each[when] >= began]
        return heard.count("ok"), [each for each in heard if each != "ok"]

    def none_failed(self, began):
        """`N requests, none failed`, of those that were under way then or are until now; raises when one did."""
        self.settled()
        well, bad = self.since(began)
        if bad:
            raise Failed(f"{len(bad)} of {well + len(bad)} requests failed: {bad[:3]}")
        longest = max(each["ended"] - each["sent"] for each in self.answers if each["ended"] >= began)
        return f"{well} requests, none failed, every text as before; the slowest took {longest:.1f} s"

    def stop(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def now():
    return time.time()
