#!/usr/bin/env python3
"""Checks that includes point down the levels of the tree and that no room includes a sibling.

Reads every #include "..." of C++ and proto files, maps both sides to rooms, and prints each arrow that goes
up or sideways with the file, the line and the two rooms. Exit code 1 if there is any.

usage: check_includes.py [ROOT]
"""
import pathlib
import re
import sys

# Highest first. A room may include rooms of lower levels, and itself. Rooms in one set are siblings.
LEVELS = [
    {"tests", "bench"},
    {"services/router", "services/prefill_worker", "services/decode_worker", "services/cli",
     "services/planner"},
    {"common/worker"},
    {"common/handover"},
    {"common/engine", "common/rpc"},
    {"common/model", "common/transfer"},
    {"common/request", "common/kv", "common/text", "common/http"},
    {"common/config", "common/telemetry", "common/concurrency", "common/process"},
    {"common/base"},
]
# Leaves, and who may see them.
SEES_KERNELS = {"common/model", "common/engine", "common/handover", "common/worker", "tests", "bench"}
SEES_PROTO = {"common/rpc", "common/handover", "common/worker", "sdk/cpp", "services/router",
              "services/prefill_worker", "services/decode_worker", "services/cli", "services/planner", "tests",
              "bench"}
# The one sideways arrow: rpc turns the engine's values into proto and back.
ALLOWED = {("common/rpc", "common/engine")}
# sdk sees proto and nothing else; the command line is its first user.
SEES_SDK = {"services/cli", "tests", "bench"}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def room_of(path):
    parts = path.split("/")
    if parts[0] in ("tests", "bench", "kernels"):
        return parts[0]
    return "/".join(parts[:2])


def target_room(include, source, root):
    if include.startswith(("baton/v1/", "keda/")):
        return "proto"
    if include.startswith("baton/"):
        return "sdk/cpp"
    if include.startswith("kernels/"):
        return "kernels"
    if (root / include).exists():
        return room_of(include)
    return None  # another project's header, or a file beside the source


def level_of(room):
    for level, rooms in enumerate(LEVELS):
        if room in rooms:
            return level
    return None


def complaint(source, target):
    if source == target:
        return None
    if target == "proto":
        return None if source in SEES_PROTO else "does not see proto"
    if target == "kernels":
        return None if source in SEES_KERNELS else "does not see kernels"
    if target == "sdk/cpp":
        return None if source in SEES_SDK else "does not see the SDK"
    if source == "kernels":
        return "kernels are a leaf: they include nothing of ours"
    if source == "sdk/cpp":
        return "the SDK sees proto and nothing else"
    if (source, target) in ALLOWED:
        return None
    up, down = level_of(source), level_of(target)
    if up is None or down is None:
        return "room without a level: add it to LEVELS"
    if up == down:
        return "siblings do not include each other"
    return None if up < down else "includes point down"


def arrows(root):
    for folder in ("common", "kernels", "services", "sdk/cpp", "tests", "bench"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".h", ".cc", ".cu", ".cuh"):
                continue
            relative = path.relative_to(root).as_posix()
            source = room_of(relative)
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                target = target_room(match.group(1), path, root)
                # Unit tests lie beside the code and may use what any test may use.
                if target and not path.name.endswith("_test.cc"):
                    yield source, target, f"{relative}:{number}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    wrong = 0
    seen = set()
    for source, target, place in arrows(root):
        seen.add((source, target))
        if (why := complaint(source, target)) is not None:
            print(f"{place}: {source} -> {target}: {why}")
            wrong += 1
    print(f"{len(seen)} arrows between rooms, {wrong} wrong includes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
