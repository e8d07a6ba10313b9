"""Clients that ask the cases again and again, and a ledger of what each was told."""
import asyncio
import random
import time
from dataclasses import dataclass

from clients import Failed, GrpcDoor, HttpDoor, Note

PATIENCE = 60.0  # for one answer; nothing in the table of faults takes so long
PAUSE_AFTER_REFUSAL = 0.1


@dataclass
class Record:
    """One request. `outcome`: running, exact, wrong, refused, broken, error."""

    case: object
    router: str
    note: Note
    outcome: str = "running"
    message: str = ""
    replayed: int = 0

    def overlaps(self, begin, end):
        return self.note.sent < end and (self.note.ended or float("inf")) > begin


class Load:
    """`clients` of them, half at each router when there are two. Everything on one event loop."""

    def __init__(self, cluster, cases, clients, seed):
        self._routers = cluster.of("router")
        self._cases = cases
        self.clients = clients
        self._dice = random.Random(seed)
        self._doors = {}
        self._tasks = []
        self._enough = False
        self._count = 0
        self.expected = {}
        self.records = []
        self.running = set()  # indices of records

    def open(self):
        """On the event loop that the rest runs on."""
        for router in self._routers:
            self._doors[router.name, "grpc"] = GrpcDoor(router.host)
            self._doors[router.name, "stream"] = self._doors[router.name, "whole"] = HttpDoor(router.host)

    def http(self, router):
        return self._doors[router.name, "stream"]

    async def learn(self, cases):
        """What the undisturbed cluster says. A request that fails here ends the run; one that is refused, as on a
        machine that is too busy for heartbeats, is sent again."""
        todo = list(cases)
        patience = time.monotonic() + PATIENCE * 2

        async def learn_some():
            while todo:
                case = todo.pop()
                door = self._doors[self._routers[0].name, case.door]
                try:
                    self.expected[case.number] = await door.ask(case, Note(), f"learn-{case.number:04d}-")
                except Failed as failure:
                    if failure.kind != "refused" or time.monotonic() > patience:
                        raise
                    todo.append(case)
                    await asyncio.sleep(PAUSE_AFTER_REFUSAL)

        await asyncio.gather(*(learn_some() for _ in range(self.clients)))

    def start(self):
        self._tasks = [asyncio.create_task(self._ask_on(i)) for i in range(self.clients)]

    async def stop(self):
        """What is under way ends by itself; then its records are complete."""
        self._enough = True
        await asyncio.gather(*self._tasks)

    async def close(self):
        for door in self._doors.values():
            await door.close()

    def lay_bait(self, cases):
        """Requests whose prompts take a while to compute, beside the load."""
        for number, case in enumerate(cases):
            router = self._routers[number % len(self._routers)]
            self._tasks.append(asyncio.create_task(self.ask(case, router)))

    async def _ask_on(self, client):
        router = self._routers[client % len(self._routers)]
        while not self._enough:
            record = await self.ask(self._dice.choice(self._cases), router)
            if record.outcome in ("refused", "broken"):
                await asyncio.sleep(PAUSE_AFTER_REFUSAL)

    async def ask(self, case, router):
        self._count += 1
        record = Record(case, router.name, Note())
        index = len(self.records)
        self.records.append(record)
        self.running.add(index)
        try:
            door = self._doors[router.name, case.door]
            answer = await asyncio.wait_for(door.ask(case, record.note, f"chaos-{self._count:06d}-"), PATIENCE)
            record.message = answer.difference(self.expected[case.number])
            record.outcome = "wrong" if record.message else "exact"
        except Failed as failure:
            record.outcome, record.message = failure.kind, str(failure)
        except asyncio.TimeoutError:
            record.outcome, record.message = "error", f"no end within {PATIENCE:.0f} s"
        finally:
            record.note.ended = time.monotonic()
            self.running.discard(index)
        return record

    def in_flight(self):
        return [self.records[i] for i in self.running]
