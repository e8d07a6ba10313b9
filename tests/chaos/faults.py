"""The faults: what is done to whom, for how long, and what its clients may be told."""
import asyncio
import os
import socket
from dataclasses import dataclass, field
from typing import Callable

from cases import Case
from clients import Failed, Note
from members import HTTP, debug

HOUR = 3600
LONG = 4.0  # longer than heartbeats, keepalive and leases
SLOW = 6.0
SHORT = 0.3  # shorter than any of them

# What a client may be told because of a fault, beside its answer:
NOTHING = "nothing"  # every request completes
REFUSED = "refused"  # a request that has not begun may be refused, and sent again
BROKEN = "broken"  # clients of the router that is hit may lose their connection, too


@dataclass(frozen=True)
class Fault:
    name: str
    role: str  # whom it hits: router, prefill, decode, any, or all of "prefill" / "decode" with `everyone`
    hold: float  # seconds between begin and end
    begin: Callable  # (Scene, targets)
    end: Callable
    clients_may_see: str = NOTHING
    everyone: bool = False
    needs: str = ""  # a name in Scene.missing: then it is skipped
    expects: str = ""  # what a user may expect, for the page

    def allows(self, record, targets):
        if record.outcome not in (REFUSED, BROKEN) or self.clients_may_see == NOTHING:
            return False
        hit = self.role != "router" or record.router in [t.name for t in targets]
        return hit and (record.outcome == REFUSED or self.clients_may_see == BROKEN)


@dataclass
class Scene:
    """What faults work on."""

    cluster: object
    load: object
    missing: dict = field(default_factory=dict)  # what this machine cannot do, and why
    slow_case: Case = None
    bait: list = field(default_factory=list)  # cases that are with a prefill worker for a while
    problems: list = field(default_factory=list)
    undo: dict = field(default_factory=dict)
    counts: dict = field(default_factory=dict)


def nothing(scene, targets):
    pass


def each(method):
    def act(scene, targets):
        for target in targets:
            getattr(target, method)()
    return act


def on_place(method):
    def act(scene, targets):
        for target in targets:
            getattr(scene.cluster.place, method)(target.name)
    return act


def part(scene, targets):
    scene.undo["part"] = [(targets[0].name, other.name) for other in scene.cluster.of("decode")]
    for pair in scene.undo["part"]:
        scene.cluster.place.part(*pair)


def join(scene, targets):
    for pair in scene.undo.pop("part"):
        scene.cluster.place.join(*pair)


def skew(seconds):
    def act(scene, targets):
        for target in targets:
            target.skew(seconds)
    return act


def fill_log_disk(scene, targets):
    with open(scene.cluster.log_folder / "ballast", "wb", buffering=0) as ballast:
        try:
            for size in (1 << 16, 1 << 10, 1):
                while True:
                    try:
                        ballast.write(b"x" * size)
                    except OSError:
                        break
        finally:
            os.fsync(ballast.fileno())


def empty_log_disk(scene, targets):
    (scene.cluster.log_folder / "ballast").unlink()


def on_pipes(method, with_news=False):
    """To all that log into a pipe. With news: a worker dies, so that the others have something to log."""
    def act(scene, targets):
        for member in scene.cluster.members.values():
            if member.pipe is not None:
                getattr(member.pipe, method)()
        if with_news:
            scene.cluster.members["decode-1"].kill()
    return act


async def stall_a_client(scene, targets):
    """Sends a request with a large answer and reads nothing of it, until `read_on`."""
    host = targets[0].host
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, (host, HTTP))
    reader, writer = await asyncio.open_connection(sock=made, limit=2048)
    writer.transport.pause_reading()
    scene.undo["slow"] = (reader, writer)
    await scene.load.http(targets[0]).write_request(writer, scene.slow_case, "slow-client-")


async def read_on(scene, targets):
    reader, writer = scene.undo.pop("slow")
    try:
        writer.transport.resume_reading()
        answer = await asyncio.wait_for(
            scene.load.http(targets[0]).read_answer(reader, scene.slow_case, Note()), 30)
        difference = answer.difference(scene.load.expected[scene.slow_case.number])
        if difference:
            scene.problems.append(f"the slow client's answer is wrong: {difference}")
    except (Failed, OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
        scene.problems.append(f"the slow client got no answer: {error!r}")
    finally:
        writer.transport.abort()


async def vanish(scene, targets):
    """Clients send requests, read the beginning of the answer, and are gone."""
    door = scene.load.http(targets[0])
    scene.counts["vanished"] = scene.counts.get("vanished", 0) + 1
    scene.undo["vanished"] = [f"vanished-{scene.counts['vanished']:04d}-{i}-" for i in range(4)]
    for name in scene.undo["vanished"]:
        reader, writer = await door.send(scene.slow_case, name)
        await reader.readuntil(b"data: ")
        writer.transport.abort()


def are_cancelled(scene, targets):
    for name in scene.undo.pop("vanished"):
        state = debug(targets[0], f"/debug/requests/{name}")["state"]
        if state != "cancelled":
            scene.problems.append(f"request {name} of a client that is gone is {state}")


FAULTS = [
    Fault("nothing", "any", 1.0, nothing, nothing,
          expects="the measure of the other rows: how long the longest pause is when nothing happens"),
    Fault("prefill worker killed", "prefill", 0, each("kill"), nothing,
          expects="another prefill worker is asked, or the decode worker computes the prompt itself"),
    Fault("all prefill workers killed", "prefill", 0, each("kill"), nothing, everyone=True,
          expects="decode workers compute the prompts themselves until prefill workers are back"),
    Fault("decode worker killed", "decode", 0, each("kill"), nothing,
          expects="its requests go on elsewhere in the same stream, from the tokens already sent"),
    Fault("all decode workers killed", "decode", 0, each("kill"), nothing, everyone=True, clients_may_see=REFUSED,
          expects="running requests wait for a worker to come back and go on; new ones are refused with Retry-After"),
    Fault("router killed", "router", 0, each("kill"), nothing, clients_may_see=BROKEN,
          expects="its connections break; clients ask again, at it or at another; other routers' clients notice nothing"),
    Fault("prefill worker restarted", "prefill", 0, each("terminate"), nothing,
          expects="it takes nothing new, ends what it has and leaves"),
    Fault("decode worker restarted", "decode", 0, each("terminate"), nothing,
          expects="its requests end there or go on elsewhere; nobody notices"),
    Fault("router restarted", "router", 0, each("terminate"), nothing, clients_may_see=BROKEN,
          expects="running requests end within its drain timeout, new ones are refused meanwhile"),
    Fault("prefill worker stopped 0.3 s", "prefill", SHORT, each("stop"), each("cont"), expects="a pause"),
    Fault("prefill worker stopped 4 s", "prefill", LONG, each("stop"), each("cont"),
          expects="prompts are computed elsewhere; its writes that may still come are fenced off"),
    Fault("decode worker stopped 0.3 s", "decode", SHORT, each("stop"), each("cont"), expects="a pause"),
    Fault("decode worker stopped 4 s", "decode", LONG, each("stop"), each("cont"),
          expects="its requests go on elsewhere; what it says when it wakes is ignored"),
    Fault("prefill worker ten times slower 6 s", "prefill", SLOW, each("slow_down"), each("let_go"),
          expects="prompts are computed elsewhere; it is ejected, and comes back when it has shown that it is fast"),
    Fault("decode worker ten times slower 6 s", "decode", SLOW, each("slow_down"), each("let_go"),
          expects="a pause; its requests go on elsewhere, with their KV"),
    Fault("router stopped 0.3 s", "router", SHORT, each("stop"), each("cont"), expects="a pause"),
    Fault("router stopped 4 s", "router", LONG, each("stop"), each("cont"), clients_may_see=BROKEN,
          expects="its clients wait or lose their connection; workers stop what it had asked for"),
    Fault("prefill worker cut off 4 s", "prefill", LONG, on_place("cut"), on_place("heal"), needs="cut",
          expects="as a stopped one, though it goes on writing while nobody hears it"),
    Fault("decode worker cut off 0.5 s", "decode", 0.5, on_place("cut"), on_place("heal"), needs="cut",
          expects="a pause: lost packets are sent again"),
    Fault("decode worker cut off 4 s", "decode", LONG, on_place("cut"), on_place("heal"), needs="cut",
          expects="its requests go on elsewhere"),
    Fault("router cut off 4 s", "router", LONG, on_place("cut"), on_place("heal"), needs="cut",
          clients_may_see=BROKEN,
          expects="its clients wait or lose their connection; it has its workers again when the network is back"),
    Fault("prefill and decode workers parted 4 s", "prefill", LONG, part, join, needs="cut",
          expects="the router sees both and pairs them still; decode workers find others, or compute themselves"),
    Fault("disk of logs full 2 s", "any", 2.0, fill_log_disk, empty_log_disk, needs="log disk",
          expects="log lines are lost, requests are not"),
    Fault("readers of logs stalled 2 s, a decode worker killed", "any", 2.0, on_pipes("stall", with_news=True),
          on_pipes("go_on"), expects="log lines are lost and counted, nobody is held up by them"),
    Fault("readers of logs gone, a decode worker killed", "any", 1.0, on_pipes("hang_up", with_news=True), nothing,
          expects="log lines are lost, requests are not"),
    Fault("wall clock an hour ahead 2 s", "any", 2.0, skew(HOUR), skew(0), needs="clock",
          expects="nothing: what lasts is measured by clocks that never jump"),
    Fault("wall clock an hour back 2 s", "any", 2.0, skew(-HOUR), skew(0), needs="clock",
          expects="nothing: what lasts is measured by clocks that never jump"),
    Fault("client that does not read 2 s", "router", 2.0, stall_a_client, read_on,
          expects="others notice nothing; it gets its whole answer when it reads on"),
    Fault("clients that vanish", "router", 0.5, vanish, are_cancelled,
          expects="their requests are cancelled on all workers"),
]
