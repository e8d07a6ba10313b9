#!/usr/bin/env python3
"""Gathers sources that clang-tidy can read as one, so that it parses their headers once.

    batches.py BUILD OUTPUT [FILE …]

Reads BUILD/compile_commands.json; a batch is up to 12 files of one folder that are compiled alike. Writes
to OUTPUT one source per batch, which includes them, and a compile_commands.json for the batches and for
each file alone (without precompiled headers: those are another compiler's, and hide missing includes).
Prints a line per batch, the largest first: the source, then its files. FILEs are a batch each.
"""

import collections
import json
import pathlib
import re
import shlex
import sys

LIMIT = 12
CHECKED = re.compile(r"^(common|kernels|services|sdk)/.*\.cc$")
TESTS = re.compile(r"_(test|bench|main_test)\.cc$|/testing/|/test_[a-z]+\.cc$")


def arguments(entry: dict) -> list[str]:
    """The compiler's command line, without launchers, precompiled headers, input and output."""
    words = shlex.split(entry["command"])
    words = words[next(i for i, word in enumerate(words) if re.search(r"(\+\+|cc)(-\d+)?$", word)
                       and "ccache" not in word):]
    kept: list[str] = []
    skipped = False
    for word, following in zip(words, words[1:] + [""]):
        if skipped:
            skipped = False
        elif word in ("-o", "-c") or (word == "-include" and "cmake_pch" in following):
            skipped = True
        elif word != "-Winvalid-pch":
            kept.append(word)
    return kept


def main() -> None:
    build, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    root = pathlib.Path.cwd()
    alone = sys.argv[3:]
    database, groups = [], collections.defaultdict(list)
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["file"])
        name = str(path.relative_to(root))
        if any(name == known["name"] for known in database):
            continue
        words = arguments(entry)
        database.append({"name": name, "directory": entry["directory"], "file": str(path),
                         "arguments": [*words, "-c", str(path)]})
        if CHECKED.match(name) and not TESTS.search(name):
            groups[(path.parent, entry["directory"], tuple(words))].append(name)

    output.mkdir(parents=True, exist_ok=True)
    batches = [([name], name) for name in alone]
    for (folder, directory, words), names in [] if alone else groups.items():
        for first in range(0, len(names), LIMIT):
            batch = names[first:first + LIMIT]
            label = "_".join(folder.relative_to(root).parts)
            source = output.resolve() / f"{label}_{len(batches)}.cc"
            source.write_text("".join(f'#include "{root / name}"\n' for name in batch))
            database.append({"name": "", "directory": directory, "file": str(source),
                             "arguments": [*words, "-c", str(source)]})
            batches.append((batch, str(source)))
    (output / "compile_commands.json").write_text(json.dumps(
        [{key: value for key, value in entry.items() if key != "name"} for entry in database]))
    for batch, source in sorted(batches, key=lambda each: -len(each[0])):
        print(source, *batch)


main()
