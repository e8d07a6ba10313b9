"""Images that are made here: with no container engine, of programs of this machine and the libraries they load."""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[3]
sys.path.append(str(SOURCE / "deploy/image"))
import oci  # noqa: E402


def of_program(program, name, out, user="65532", entrypoint=None):
    """One layer: the program, as /NAME, and its libraries at their own places."""
    program = pathlib.Path(shutil.which(program)).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        put(folder, f"/{program.name}", program)
        libraries = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", libraries):
            put(folder, library, library)
        (folder / "tmp").mkdir(mode=0o777)
        data = oci.layer(folder, sorted(str(path.relative_to(folder)) for path in folder.rglob("*")))
    archive = oci.Archive()
    layer = archive.add(data, oci.MEDIA + "layer.v1.tar")
    config = archive.add_json({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [oci.digest(data)]},
        "config": {"User": user, "Entrypoint": [f"/{program.name}", *(entrypoint or [])], "Env": ["PATH=/"]}},
        oci.MEDIA + "config.v1+json")
    manifest = archive.add_json({"schemaVersion": 2, "mediaType": oci.MEDIA + "manifest.v1+json", "config": config,
                                 "layers": [layer]}, oci.MEDIA + "manifest.v1+json")
    archive.write(out, manifest, name, config, [layer])
    return out


def put(folder, path, source):
    where = folder / path.lstrip("/")
    where.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, where)
    where.chmod(0o755)


def pause(name, out):
    """What holds a pod's namespaces open: it has nothing to do but to be there."""
    return of_program("sleep", name, out, entrypoint=["infinity"])


def baton(out, name):
    """The project's own, of what build/release has."""
    done = subprocess.run([SOURCE / "deploy/image.sh", "--name", name, "--out", out], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"run.sh: {done.stderr.strip()}")
    return out


def name_of(archive):
    with tarfile.open(archive) as tar:
        index = json.load(tar.extractfile("index.json"))
    return index["manifests"][0]["annotations"]["io.containerd.image.name"]
