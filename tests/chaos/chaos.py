#!/usr/bin/env python3
"""Breaks a cluster again and again, under load, and holds every answer against an undisturbed one.

Exit status 0 when every accepted request ended as the table of faults allows, every block was free or cached in the
end and nothing was left behind; else 1, with what went wrong. The same seed gives the same faults in the same order.
"""
import argparse
import asyncio
import contextlib
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import report
from cases import Case, make_bait, make_cases, with_stop
from faults import FAULTS, Scene
from load import Load
from members import Cluster, build_skewed_clock
from places import open_place
from rounds import play
from watch import Leftovers, QuarantineWatch, busy, unsettled

CLIENTS = 8
READY_WITHIN = 60.0
IDLE_WITHIN = 10.0
LOG_DISK_BYTES = 4 << 20
LOG_KEPT_BYTES = 1 << 20  # of one file, between two rounds
FLAGS = {
    "router": ["--placement", "always-remote", "--drain-timeout", "10s"],
    "prefill": ["--isa", "avx2", "--drain-timeout", "10s", "--kv-memory", "64MiB", "--prefix-cache=false"],
    # Pools so small that sequences are preempted now and then.
    "decode": ["--isa", "avx2", "--drain-timeout", "10s", "--kv-memory", "32MiB"],
    # One decode worker over shared memory with a prefix cache, one over TCP without.
    "decode-1": ["--transfer-path", "tcp", "--prefix-cache=false"],
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long to go on breaking things (default 5)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults, their victims and the load (default 1)")
    parser.add_argument("--only", default="", help="faults whose name contains this")
    parser.add_argument("--cases", type=int, default=20, help="different requests (default 20)")
    parser.add_argument("--write", action="store_true", help="write docs/operations/faults.md and bench/baselines/faults.json, unless something went wrong")
    parser.add_argument("--keep", action="store_true", help="keep the logs, and say where")
    return parser.parse_args()


@contextlib.contextmanager
def folders(keep):
    """(for this run, for logs, why the latter is not a disk of its own)."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="baton-chaos-"))
    logs = folder / "logs"
    logs.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LOG_DISK_BYTES}", "none", str(logs)],
                           capture_output=True, text=True)
    try:
        yield folder, logs, mount.stderr.strip() if mount.returncode else ""
    finally:
        if keep:
            shutil.copytree(logs, folder / "kept")
            print(f"logs are in {folder}")
        if mount.returncode == 0:
            subprocess.run(["umount", str(logs)], check=True)
        if not keep:
            shutil.rmtree(folder)


def reusable(round_):
    """When the last quarantined block was free, or a spare stood in for it."""
    return "     -" if round_.free_after is None else f"{round_.free_after:4.2f} s"


class Chaos:
    def __init__(self, options, cluster, missing):
        self.options = options
        self.cluster = cluster
        self.dice = random.Random(options.seed)
        # Its answer is large: many choices, each token with its alternatives.
        slow = Case(9999, "stream", "Once upon a time", 4, 400, {"temperature": 0.8, "seed": 5, "logprobs": 5})
        self.cases = make_cases(options.seed, options.cases, max_tokens=600)
        self.load = Load(cluster, self.cases, CLIENTS, options.seed)
        self.scene = Scene(cluster, self.load, missing, slow, make_bait(options.seed))
        self.rounds = []
        self.problems = []

    async def run(self):
        await self._until_ready()
        self.load.open()
        await self._learn()
        watch = QuarantineWatch(self.cluster.workers)
        self.load.start()
        began = time.monotonic()
        try:
            await self._break_things(watch, began + self.options.minutes * 60)
        finally:
            await self.load.stop()
            watch.close()
        self.seconds = time.monotonic() - began
        await self._until_idle()
        await self.load.close()
        self._judge()

    async def _until_ready(self):
        deadline = time.monotonic() + READY_WITHIN
        while why := unsettled(self.cluster):
            for member in self.cluster.members.values():
                if member.deaths:
                    raise RuntimeError(f"{member} cannot start: exit status {member.deaths[0][1]}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"not ready within {READY_WITHIN:.0f} s: {why}")
            await asyncio.sleep(0.05)

    async def _learn(self):
        await self.load.learn([*self.cases, *self.scene.bait, self.scene.slow_case])
        ended_early = [with_stop(case, self.load.expected[case.number]) for case in self.cases[::3]]
        ended_early = [case for case in ended_early if case]
        await self.load.learn(ended_early)
        self.cases += ended_early

    def _bag(self):
        """Every fault once, in an order of its own; then again in another."""
        while True:
            faults = [f for f in FAULTS if self.options.only in f.name and f.needs not in self.scene.missing]
            self.dice.shuffle(faults)
            yield from faults

    async def _break_things(self, watch, until):
        await asyncio.sleep(1.0)  # the load is under way
        for fault in self._bag():
            if time.monotonic() >= until:
                return
            round_ = await play(fault, self.scene, watch, self.dice)
            self.rounds.append(round_)
            pauses = round_.pauses
            print(f"  {fault.name:<52} {', '.join(map(str, round_.targets)) if len(round_.targets) < 3 else 'all':<20}"
                  f" hit {len(round_.hits):>2}  longest pause {max(pauses, default=0):5.2f} s"
                  f"  back after {round_.back_after:5.2f} s  blocks after {reusable(round_)}"
                  f"  {'; '.join(round_.problems)}", flush=True)
            self._trim_logs()

    def _trim_logs(self):
        for folder in {self.cluster.folder, self.cluster.log_folder}:
            for log in folder.glob("*.log"):
                if log.stat().st_size > LOG_KEPT_BYTES:
                    log.write_bytes(log.read_bytes()[-LOG_KEPT_BYTES // 2:])

    async def _until_idle(self):
        deadline = time.monotonic() + IDLE_WITHIN
        while held := await asyncio.to_thread(busy, self.cluster):
            if time.monotonic() > deadline:
                self.problems.append(f"{IDLE_WITHIN:.0f} s after the last request: {held}")
                return
            await asyncio.sleep(0.1)

    def _judge(self):
        for record in self.load.records:
            if record.outcome == "exact" or self._is_allowed(record):
                continue
            during = [f"{r.fault.name} ({', '.join(map(str, r.targets[:2]))}) {record.note.sent - r.at:+.1f} s"
                      for r in self.rounds if record.overlaps(r.at, r.settled_at)]
            self.problems.append(f"request {record.note.request} (case {record.case.number}, {record.case.door}, "
                                 f"{record.router}) {record.outcome}: {record.message}; "
                                 f"during: {', '.join(during) or 'no fault'}")
        for round_ in self.rounds:
            self.problems += [f"{round_.fault.name}: {problem}" for problem in round_.problems]
        for member in self.cluster.members.values():
            self.problems += [f"{member} died by itself: {how}" for _, how in member.deaths]

    def _is_allowed(self, record):
        return any(record.overlaps(r.at, r.settled_at) and r.fault.allows(record, r.targets) for r in self.rounds)


def play_all(options):
    place = open_place()
    leftovers = Leftovers()
    with contextlib.ExitStack() as undo:
        undo.callback(place.close)
        folder, logs, no_disk = undo.enter_context(folders(options.keep))
        skewed_clock, no_clock = build_skewed_clock(folder)
        missing = {need: why for need, why in (("cut", getattr(place, "why_not", "")), ("log disk", no_disk),
                                               ("clock", no_clock)) if why}
        cluster = Cluster(place, folder, logs, skewed_clock, flags=FLAGS)
        place.enter()
        undo.callback(cluster.close)
        chaos = Chaos(options, cluster, missing)
        cluster.start()
        asyncio.run(chaos.run())
        chaos.problems += cluster.stop()
        chaos.problems += [f"left behind: {what}" for what in leftovers.found(cluster)]
    chaos.problems += [f"left behind: network namespace {name}" for name in getattr(place, "left_behind", list)()]
    return chaos


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # networks and mounts are undone all the same
    chaos = play_all(options)
    report.print_summary(chaos)
    if options.write and not chaos.problems:
        report.write(chaos)
    return 1 if chaos.problems else 0


if __name__ == "__main__":
    sys.exit(main())
