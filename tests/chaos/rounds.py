"""One round: a fault is done, undone, and the cluster is as before; with all that is measured in between."""
import asyncio
import inspect
import time
from dataclasses import dataclass, field

from faults import Fault
from members import debug
from watch import unsettled

SETTLED_WITHIN = 30.0  # from the end of a fault until everybody is back and no block is quarantined
CALM = 0.7  # between two faults
PICK_WITHIN = 3.0  # for a moment in which the fault hits somebody


@dataclass
class Round:
    """What one fault did. Times in seconds."""

    fault: Fault
    targets: list
    at: float  # monotonic
    hits: list = field(default_factory=list)  # records of requests that were under way there
    back_after: float = 0.0  # from the end of the fault until all workers are with all routers again
    free_after: float = None  # from the fault until no block was quarantined; None: none was
    settled_at: float = 0.0
    problems: list = field(default_factory=list)

    @property
    def pauses(self):
        """The longest silence of every stream that was hit."""
        return [record.note.longest_silence(self.at, self.settled_at) for record in self.hits
                if record.case.streams and record.outcome in ("exact", "running")]

    def outcomes(self):
        counts = {}
        for record in self.hits:
            counts[record.outcome] = counts.get(record.outcome, 0) + 1
        return counts


async def play(fault, scene, watch, dice):
    """Does it, undoes it, waits until all is well. Problems are in the round; nothing is raised."""
    targets = pick(fault, scene, dice)
    await moment_for(fault, scene, targets)
    before = await asyncio.to_thread(requests_at, scene.cluster, targets)
    round_ = Round(fault, targets, time.monotonic())
    round_.hits = hits_of(fault, targets, scene.load.in_flight(), before)
    try:
        await act(fault.begin, scene, targets)
        await asyncio.sleep(fault.hold)
    finally:
        await act(fault.end, scene, targets)
    await settle(scene, round_, watch)
    round_.problems += scene.problems
    scene.problems.clear()
    await asyncio.sleep(CALM)
    return round_


async def act(what, scene, targets):
    if inspect.iscoroutinefunction(what):
        await what(scene, targets)
    else:
        what(scene, targets)


def pick(fault, scene, dice):
    role = fault.role
    if role == "any":
        return list(scene.cluster.members.values())
    members = scene.cluster.of(role)
    return members if fault.everyone else [dice.choice(members)]


async def moment_for(fault, scene, targets):
    """A fault of a prefill worker hits somebody only while it computes, which is short: makes such a moment."""
    if fault.role != "prefill":
        return
    scene.load.lay_bait(scene.bait)
    deadline = time.monotonic() + PICK_WITHIN
    while time.monotonic() < deadline:
        if any(is_prefilled_by(record, targets) for record in scene.load.in_flight()):
            return
        await asyncio.sleep(0.001)


def is_prefilled_by(record, targets):
    return not record.note.pieces and any(record.note.prefill.startswith(f"{t.name}@") for t in targets)


def requests_at(cluster, targets):
    """Ids of requests that decode at a target, as the routers know them."""
    if targets[0].role != "decode" or len(targets) > 2:
        return set()
    found = set()
    for router in cluster.of("router"):
        for request in debug(router, "/debug/requests")["requests"]:
            if request["state"] == "running" and any(request.get("decode", "").startswith(f"{t.name}@")
                                                     for t in targets):
                found.add(request["request"])
    return found


def hits_of(fault, targets, in_flight, at_decode):
    if fault.role == "any":
        return in_flight
    if fault.role == "router":
        return [record for record in in_flight if record.router == targets[0].name]
    if fault.role == "prefill":
        return [record for record in in_flight if is_prefilled_by(record, targets)]
    return [record for record in in_flight
            if record.note.request and any(name.startswith(record.note.request) for name in at_decode)]


async def settle(scene, round_, watch):
    ended = time.monotonic()
    why = "never looked"
    while why:
        if time.monotonic() - ended > SETTLED_WITHIN:
            round_.problems.append(f"after {SETTLED_WITHIN:.0f} s: {why}")
            break
        await asyncio.sleep(0.05)
        why = await asyncio.to_thread(unsettled, scene.cluster)
    round_.settled_at = time.monotonic()
    round_.back_after = round_.settled_at - ended
    round_.free_after = watch.seconds_until_free(round_.at)
