"""The short version of tests/chaos/run.sh: as many faults as fit into a minute."""
import os
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
MINUTES = os.environ.get("BATON_CHAOS_MINUTES", "1")
SEED = os.environ.get("BATON_CHAOS_SEED", "1")


def test_answers_survive_whatever_happens_to_the_cluster():
    run = subprocess.run([HERE / "run.sh", "--minutes", MINUTES, "--seed", SEED, "--cases", "12"],
                         capture_output=True, text=True, timeout=float(MINUTES) * 60 + 240)
    print(run.stdout)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]
