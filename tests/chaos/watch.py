"""Looks at the cluster from the outside while things break: blocks, membership, and what is left behind."""
import pathlib
import re
import threading
import time

from members import METRICS, debug, get

LOOK_EVERY = 0.1
BLOCKS = re.compile(r'^baton_kv_blocks\{(?=[^}]*state="(\w+)")[^}]*\} (\S+)', re.M)
SEQUENCES = re.compile(r'^baton_sequences\{(?=[^}]*state="(\w+)")[^}]*\} (\S+)', re.M)


def blocks_of(worker, timeout=0.5):
    """state -> count, from the worker's own page; "running" and "waiting" are sequences."""
    page = get(worker, "/metrics", METRICS, timeout).decode()
    return {state: int(float(count)) for pattern in (BLOCKS, SEQUENCES) for state, count in pattern.findall(page)}


class QuarantineWatch:
    """Notes for each worker when it last had quarantined blocks. One thread each: a stopped worker delays nobody."""

    def __init__(self, workers):
        self._over = threading.Event()
        self.last_seen = {worker.name: 0.0 for worker in workers}
        self.most = 0
        self._threads = [threading.Thread(target=self._look, args=(worker,), daemon=True) for worker in workers]
        for thread in self._threads:
            thread.start()

    def _look(self, worker):
        while not self._over.wait(LOOK_EVERY):
            try:
                count = blocks_of(worker)["quarantined"]
            except (OSError, KeyError):
                continue  # dead, stopped or cut off: it is asked again
            if count > 0:
                self.last_seen[worker.name] = time.monotonic()
                self.most = max(self.most, count)

    def seconds_until_free(self, since):
        """From `since` until the last quarantined block was free; None: none was quarantined."""
        last = max(self.last_seen.values())
        return last - since + LOOK_EVERY if last > since else None

    def close(self):
        self._over.set()
        for thread in self._threads:
            thread.join()


def unsettled(cluster):
    """What is not yet as before any fault, in words; empty: nothing."""
    for router in cluster.of("router"):
        try:
            view = debug(router)
        except OSError as error:
            return f"{router} does not answer ({error})"
        here = {w["id"].split("@")[0]: w for w in view["workers"] if w["reachable"] and not w["suspect"]
                and not w["draining"]}
        missing = [worker.name for worker in cluster.workers if worker.name not in here]
        if missing:
            return f"{router} is without {', '.join(missing)}"
    for worker in cluster.workers:
        try:
            if count := blocks_of(worker)["quarantined"]:
                return f"{worker} has {count} blocks in quarantine"
        except (OSError, KeyError) as error:
            return f"{worker}'s metrics page does not answer ({error!r})"
    return ""


def busy(cluster):
    """Blocks or sequences that are still held though nobody asks for anything; empty: none."""
    held = []
    for worker in cluster.workers:
        try:
            counts = blocks_of(worker)
        except (OSError, KeyError) as error:
            held.append(f"{worker}: {error!r}")
            continue
        bad = {state: counts[state] for state in ("active", "quarantined", "replaced", "running", "waiting") if counts[state]}
        if bad:
            held.append(f"{worker}: {bad}")
    return "; ".join(held)


class Leftovers:
    """What a cluster must not leave behind: processes, shared memory, ports, files."""

    def __init__(self):
        self._shared_before = self._shared()

    @staticmethod
    def _shared():
        return {entry.name for entry in pathlib.Path("/dev/shm").iterdir()}

    def found(self, cluster):
        found = [f"process {pid}" for pid in cluster.pids if pathlib.Path(f"/proc/{pid}").exists()]
        found += [f"/dev/shm/{name}" for name in self._shared() - self._shared_before if not self._in_use(name)]
        found += [f"System V segment {key}" for key in self._segments_of(cluster.pids)]
        expected = re.compile(r"(router|prefill|decode)-\d\.(log|clock)|skewed_clock\.so|logs|kept")
        for folder in {cluster.folder, cluster.log_folder}:
            found += [f"file {path.name}" for path in folder.iterdir() if not expected.fullmatch(path.name)]
        return found

    @staticmethod
    def _in_use(name):
        """By a process that lives: other clusters on this machine have theirs."""
        for maps in pathlib.Path("/proc").glob("[0-9]*/maps"):
            try:
                if f"/dev/shm/{name}" in maps.read_text():
                    return True
            except OSError:
                pass  # it has just ended
        return False

    @staticmethod
    def _segments_of(pids):
        rows = [line.split() for line in pathlib.Path("/proc/sysvipc/shm").read_text().splitlines()]
        names, rows = rows[0], rows[1:]
        created_by, number = names.index("cpid"), names.index("shmid")
        return [row[number] for row in rows if int(row[created_by]) in pids]
