#!/usr/bin/env python3
"""Counts the tests that tests/run.sh has run, from their JUnit files.

count.py RESULTS [stage ...]          prints what failed and, last, "N passed, N failed"
count.py --record FILE NAME STATE     writes a file with one test that passed, failed or was skipped
"""
import pathlib
import sys
import xml.etree.ElementTree as xml


def failed(case):
    return case.find("failure") is not None or case.find("error") is not None


def skipped(case):
    return case.find("skipped") is not None or case.get("status") in ("notrun", "disabled") or \
        case.get("result") in ("skipped", "suppressed")


def cases_of(path):
    """(name, state) of every test case; an unreadable file is one failed test."""
    try:
        root = xml.parse(path).getroot()
    except xml.ParseError:
        return [(path.stem, "failed")]
    found = []
    for case in root.iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name')}".strip(".")
        state = "failed" if failed(case) else "skipped" if skipped(case) else "passed"
        found.append((name, state))
    return found


def stage_cases(folder):
    """One entry per googletest case; a ctest that wrote none of those counts itself."""
    gtest = {path.stem: cases_of(path) for path in sorted(folder.glob("gtest/*.xml"))}
    found = []
    for path in sorted(folder.glob("*.xml")):
        for name, state in cases_of(path):
            inner = gtest.get(name.rsplit(".", 1)[-1]) if path.stem == "ctest" else None
            if not inner:
                found.append((name, state))
                continue
            found += [(f"{name}: {case}", inner_state) for case, inner_state in inner]
            if state == "failed" and all(s != "failed" for _, s in inner):
                found.append((f"{name}: the program itself (a leak, a signal or a time-out)", "failed"))
    return found


def summarize(results, stages):
    folders = [results / s for s in stages] or sorted(p for p in results.glob("*") if p.is_dir())
    total = {"passed": 0, "failed": 0, "skipped": 0}
    failures = []
    for folder in folders:
        cases = stage_cases(folder)
        counts = {state: sum(1 for _, s in cases if s == state) for state in total}
        for state in total:
            total[state] += counts[state]
        failures += [f"{folder.name}: {name}" for name, state in cases if state == "failed"]
        skips = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        print(f"{folder.name:<8} {counts['passed']} passed, {counts['failed']} failed{skips}")
    for failure in failures:
        print(f"FAILED   {failure}")
    if sum(total.values()) == 0:
        total["failed"] = 1
        print("FAILED   no test has run")
    print(f"{total['passed']} passed, {total['failed']} failed")
    return 1 if total["failed"] else 0


def record(path, name, state):
    suite = xml.Element("testsuite", name=name)
    case = xml.SubElement(suite, "testcase", classname="", name=name)
    if state == "failed":
        xml.SubElement(case, "failure", message="failed; see the output above")
    elif state == "skipped":
        xml.SubElement(case, "skipped", message="skipped; see the output above")
    xml.ElementTree(suite).write(path)
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--record":
        sys.exit(record(sys.argv[2], sys.argv[3], sys.argv[4]))
    sys.exit(summarize(pathlib.Path(sys.argv[1]), sys.argv[2:]))
