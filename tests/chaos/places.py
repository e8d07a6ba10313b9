"""Where the processes of one cluster live: each has an address of its own and, where the kernel lets us, a network
of its own, so that a cable can be pulled."""
import ctypes
import os
import pathlib
import shutil
import subprocess

CLONE_NEWNET = 0x40000000


class PlaceError(Exception):
    """Why there are no network namespaces here."""


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise PlaceError(f"ip {' '.join(words)}: {done.stderr.strip() or done.returncode}")


class Loopback:
    """All on 127.0.0.0/8 of this machine, each at an address of its own. No cable to pull."""

    can_cut = False

    def __init__(self, why):
        self.why_not = why
        self._net = f"127.{100 + os.getpid() // 250 % 100}.{1 + os.getpid() % 250}"
        self._hosts = {}

    def add(self, name):
        self._hosts[name] = f"{self._net}.{len(self._hosts) + 2}"
        return self._hosts[name]

    def command(self, name, argv):
        return argv

    def enter(self):
        pass

    def close(self):
        pass


class Namespaces:
    """A network namespace per process, joined by a bridge in one more, where the clients are.

        clients (bridge) --- veth --- router-0
                         --- veth --- prefill-0 …

    A cut takes the process's cable off the bridge: packets of both directions vanish, nobody is told.
    """

    can_cut = True

    def __init__(self):
        if shutil.which("ip") is None:
            raise PlaceError("the program `ip` (package iproute2) is not installed")
        if os.geteuid() != 0:
            raise PlaceError("network namespaces need root")
        self._sweep()
        self._stem = f"baton{os.getpid()}"
        self._net = f"10.{77 + os.getpid() // 250 % 100}.{1 + os.getpid() % 250}"
        self._hosts = {}
        self._links = {}
        self.hub = f"{self._stem}-hub"
        self._made = []
        try:
            self._make(self.hub)
            ip("-n", self.hub, "link", "add", "hub", "type", "bridge")
            ip("-n", self.hub, "addr", "add", f"{self._net}.1/24", "dev", "hub")
            ip("-n", self.hub, "link", "set", "hub", "up")
        except (PlaceError, OSError):
            self.close()
            raise

    @staticmethod
    def _sweep():
        """Removes what a run that was killed has left."""
        for entry in pathlib.Path("/run/netns").glob("baton*-*"):
            pid = entry.name.removeprefix("baton").split("-")[0]
            if pid.isdigit() and not pathlib.Path(f"/proc/{pid}").exists():
                subprocess.run(["ip", "netns", "del", entry.name], capture_output=True, timeout=20)

    def _make(self, name):
        ip("netns", "add", name)
        self._made.append(name)
        ip("-n", name, "link", "set", "lo", "up")

    def add(self, name):
        number = len(self._hosts) + 2
        space, cable = f"{self._stem}-{name}", f"cable{number}"
        self._make(space)
        ip("-n", self.hub, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("-n", self.hub, "link", "set", cable, "master", "hub", "up")
        self._hosts[name] = f"{self._net}.{number}"
        self._links[name] = (space, cable)
        ip("-n", space, "addr", "add", f"{self._hosts[name]}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        return self._hosts[name]

    def command(self, name, argv):
        return ["ip", "netns", "exec", self._links[name][0], *argv]

    def enter(self):
        """This thread, and all that are started from it, move to where the clients are."""
        fd = os.open(f"/run/netns/{self.hub}", os.O_RDONLY)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise PlaceError(f"setns: {os.strerror(ctypes.get_errno())}")
        os.close(fd)

    def cut(self, name):
        ip("-n", self.hub, "link", "set", self._links[name][1], "nomaster")

    def heal(self, name):
        ip("-n", self.hub, "link", "set", self._links[name][1], "master", "hub")

    def part(self, one, other):
        """The two do not hear each other any more; both hear everybody else."""
        for here, there in ((one, other), (other, one)):
            ip("-n", self._links[here][0], "route", "add", "blackhole", self._hosts[there])

    def join(self, one, other):
        for here, there in ((one, other), (other, one)):
            ip("-n", self._links[here][0], "route", "del", "blackhole", self._hosts[there])

    def close(self):
        for name in reversed(self._made):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20)
        self._made = []

    def left_behind(self):
        return sorted(entry.name for entry in pathlib.Path("/run/netns").glob(f"{self._stem}-*"))


def open_place():
    try:
        return Namespaces()
    except PlaceError as why:
        return Loopback(str(why))
