"""What a run has shown, as the table of docs/operations/e2e.md."""
import datetime
import os
import pathlib
import platform
import subprocess

SOURCE = pathlib.Path(__file__).resolve().parents[3]
BEGIN, END = "<!-- table: written by tests/e2e/run.sh --report -->", "<!-- end of the table -->"


def write(page, steps, seconds):
    """Between the two marks of a page that is there; what surrounds them is people's."""
    text = page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{table(steps, seconds)}\n{END}{after}")


def table(steps, seconds):
    failed = sum(step.failed for step in steps.done)
    today = f"{datetime.datetime.now(datetime.timezone.utc):%-d %B %Y}"
    lines = [f"`tests/e2e/run.sh` at {git('rev-parse', '--short', 'HEAD')}{changed()} on {today}, {machine()}: "
             f"{len(steps.done) - failed} steps held, {failed} did not, in {seconds / 60:.1f} minutes from an empty "
             f"folder to nothing left.", "",
             "| step | | s | what was seen |", "| --- | --- | --- | --- |"]
    for step in steps.done:
        said = step.said.replace("|", "\\|")
        lines.append(f"| {step.name} | {'**failed**' if step.failed else 'ok'} | {step.seconds:.0f} | {said} |")
    lines += [f"| {name} | skipped | | {why} |" for name, why in steps.skipped.items()]
    return "\n".join(lines)


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores, {model}, load average {os.getloadavg()[2]:.1f}"


def changed():
    return " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""


def git(*words):
    return subprocess.run(["git", "-C", str(SOURCE), *words], capture_output=True, text=True).stdout.strip()
