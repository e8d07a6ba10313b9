import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from cluster import BIN, IMAGE, IMAGE_NAME, MODEL, SOURCE, Up  # noqa: E402
from image_archive import Image  # noqa: E402


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """One real cluster for every test that does not hurt it: two prefill workers, one decode worker."""
    before = shared_memory()
    up = Up(tmp_path_factory.mktemp("up") / "run", "--prefill", "2", "--decode", "1", "--placement", "always-remote",
            "--set", "prefill.kv_memory=64MiB", "--set", "decode.kv_memory=64MiB", "--status-interval", "1h")
    up.wait_ready()
    yield up
    assert up.stop() == 0, up.output
    assert shared_memory() == before, "shared memory was left behind"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """The relocatable archive of the programs under test."""
    archive = tmp_path_factory.mktemp("bundle") / "baton.tar.xz"
    subprocess.run([SOURCE / "deploy/bundle.sh", "--build", BIN.parent, "--out", archive], check=True, timeout=300)
    return archive


@pytest.fixture(scope="session")
def image(bundle, tmp_path_factory):
    """The container image of the programs under test."""
    out = tmp_path_factory.mktemp("image") / "image.tar"
    subprocess.run([IMAGE, "--bundle", bundle, "--name", IMAGE_NAME, "--out", out], check=True, timeout=120)
    return Image(out)


def shared_memory():
    return {name for name in os.listdir("/dev/shm") if not name.startswith("sem.")}


@pytest.fixture
def gpu_programs(tmp_path):
    """Baton's programs, with workers on a GPU that is not there (tests/support/stand_in_gpu.cc)."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "baton-router").symlink_to(BIN / "baton-router")
    for role in ("prefill", "decode"):
        (folder / f"baton-{role}-worker").symlink_to(BIN / f"baton-{role}-worker-on-stand-in-gpu")
    return folder
