"""The include check finds what it is for: an upward, a sideways and a leaf's include, and nothing else."""
import pathlib
import subprocess
import sys
import tempfile

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/lint/check_includes.py"


def run(files):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return subprocess.run([sys.executable, TOOL, root], capture_output=True, text=True)


def main():
    headers = {f"common/{room}/x.h": "" for room in ("base", "kv", "text", "engine", "model")}
    good = run({**headers, "common/kv/y.cc": '#include "common/base/x.h"\n'})
    assert good.returncode == 0, good.stdout
    for source, include, why in [
        ("common/base/y.cc", "common/kv/x.h", "includes point down"),
        ("common/kv/y.cc", "common/text/x.h", "siblings do not include each other"),
        ("common/kv/y.cc", "kernels/backend.h", "does not see kernels"),
        ("common/engine/y.cc", "baton/v1/worker.pb.h", "does not see proto"),
        ("kernels/cpu/y.cc", "common/base/x.h", "kernels are a leaf"),
    ]:
        bad = run({**headers, source: f'#include "{include}"\n'})
        assert bad.returncode == 1 and why in bad.stdout, (source, include, bad.stdout)


if __name__ == "__main__":
    main()
