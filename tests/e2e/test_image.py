"""The container image: made without an engine, sound in every part, and it serves from a read-only root as nobody."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from cluster import IMAGE, IMAGE_NAME, SOURCE

# What a container gets from its runtime: a root that cannot be written to, /proc, /sys, /dev and a /tmp of its own.
START = """
set -e
mount --bind "$ROOT" "$ROOT"
mount -o remount,ro,bind "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /sys "$ROOT/sys"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/tmp"
exec env -i "$@"
"""


def test_every_blob_is_what_its_digest_says(image):
    assert json.loads(image.files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert image.entry["annotations"]["io.containerd.image.name"] == IMAGE_NAME
    named = {image.entry["digest"], image.manifest["config"]["digest"]}
    for descriptor, diff_id in zip(image.manifest["layers"], image.config["rootfs"]["diff_ids"], strict=True):
        layer = subprocess.run(["gzip", "-dc"], input=image.blob(descriptor), stdout=subprocess.PIPE, check=True).stdout
        assert "sha256:" + hashlib.sha256(layer).hexdigest() == diff_id
        named.add(descriptor["digest"])
    assert named == {name.removeprefix("blobs/").replace("/", ":") for name in image.files if name.startswith("blobs/")}


def test_the_same_bundle_makes_the_same_bytes(image, bundle, tmp_path):
    again = tmp_path / "again.tar"
    subprocess.run([IMAGE, "--bundle", bundle, "--name", IMAGE_NAME, "--out", again], check=True,
                   timeout=120, umask=0o077)
    assert again.read_bytes() == image.path.read_bytes()


def test_it_runs_as_nobody_and_holds_neither_shell_nor_setuid_program(image):
    user, group = image.config["config"]["User"].split(":")
    assert int(user) > 0 and int(group) > 0
    names = [member.name for member in image.members()]
    assert len(names) == len(set(names)), "a path is in two layers"
    assert not [name for name in names if re.search(r"(^|/)(ba|da|z|k)?sh$|busybox|/(apt|dpkg|python)", name)]
    for member in image.members():
        assert not member.mode & 0o6000, f"{member.name} runs as somebody else"
        assert not member.mode & 0o022 or member.issym() or member.name == "tmp", f"{member.name} may be written to"
        assert member.uid == member.gid == member.mtime == 0


def test_the_list_of_contents_has_every_library_with_its_package(image, tmp_path):
    root = image.unpack(tmp_path)
    listing = json.loads((root / "opt/baton/sbom.spdx.json").read_text())
    listed, ids = set(), {"SPDXRef-DOCUMENT"}
    for package in listing["packages"]:
        assert package["SPDXID"] not in ids and re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", package["SPDXID"])
        ids.add(package["SPDXID"])
        assert package["versionInfo"] and package["name"] != "unknown", package
        if package.get("comment", "").startswith("files: "):
            listed.update(pathlib.PurePath(name).name for name in package["comment"][7:].split(", "))
    related = {relation["relatedSpdxElement"] for relation in listing["relationships"]}
    assert related == ids - {"SPDXRef-DOCUMENT"}
    found = {path.name for path in root.rglob("*.so*") if path.is_file() and not path.is_symlink()}
    # A name and what it links to, such as libuct_cma.so and libuct_cma.so.0.0.0, are one library.
    assert not {name for name in found if not any(name.startswith(each) for each in listed)}


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the root takes root")
def test_it_serves_from_a_read_only_root(image, tmp_path):
    config = image.config["config"]
    root = image.unpack(tmp_path)
    root.chmod(0o755)  # pytest's folders are closed to others
    path = dict(value.split("=", 1) for value in config["Env"])["PATH"]
    up = [f"{path}/baton", "up", "--model", "/opt/baton/models/baton-demo", "--http", "127.0.0.1:0", "--grpc",
          "127.0.0.1:0", "--placement", "always-remote", "--demo", "What is a KV cache?", "--exit-after-demo"]
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", START, "start", *config["Env"],
         shutil.which("chroot", path="/usr/sbin:/usr/bin"), f"--userspec={config['User']}", root, *up],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, env={**os.environ, "ROOT": str(root)})
    assert done.returncode == 0, done.stdout
    assert re.search(r"prefilled by prefill-0.*\d+ tokens out", done.stdout), done.stdout


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_the_dockerfiles_make_the_same_image(kind, image):
    text = (SOURCE / f"deploy/docker/Dockerfile.{kind}").read_text().replace("\\\n", " ")
    final = text.split("FROM scratch", 1)[1]
    config = image.config["config"]
    assert re.search(r"^ENV +(.*)$", final, re.M)[1].split() == config["Env"]
    assert re.search(r"^USER +(.*)$", final, re.M)[1] == config["User"]
    assert re.search(r"^WORKDIR +(.*)$", final, re.M)[1] == config["WorkingDir"]
    assert json.loads(re.search(r"^ENTRYPOINT +(.*)$", final, re.M)[1]) == config["Entrypoint"]
    base, = re.findall(r"^ARG DEBIAN=debian:(\S+)$", text, re.M)
    assert re.fullmatch(r"\d+\.\d+-slim(@sha256:[0-9a-f]{64})?", base), "a base that moves makes other images"
