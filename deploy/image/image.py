"""The image of an unpacked bundle: laid out, listed, and written as an OCI archive. See deploy/image.sh."""
import argparse
import datetime
import json
import os
import pathlib
import re
import tempfile

import oci
import rootfs
import sbom


def main():
    parser = argparse.ArgumentParser(prog="image.sh")
    parser.add_argument("--bundle", type=pathlib.Path, required=True)
    parser.add_argument("--name")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--rootfs", type=pathlib.Path)
    options = parser.parse_args()
    version = re.search(r"\d+\.\d+\.\d+", (options.bundle / "README").read_text())[0]
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", 0))
    if options.rootfs:
        options.rootfs.mkdir(parents=True, exist_ok=True)
        if any(options.rootfs.iterdir()):
            parser.error(f"{options.rootfs} is not empty")
        fill(options.bundle, options.rootfs, version, epoch)
        return
    name = options.name or f"baton:{version}"
    if not re.fullmatch(r"[a-z0-9][a-z0-9._/:-]*:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", name):
        parser.error(f"--name must be such as baton:{version}, got '{name}'")
    out = options.out or pathlib.Path(f"build/baton-{version}-image.tar")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        fill(options.bundle, folder, version, epoch)
        image = write(folder, name, version, epoch, out)
    print(f"{out}  {out.stat().st_size >> 20} MiB  {name}  {image}")


def fill(bundle, folder, version, epoch):
    rootfs.lay_out(bundle, folder)
    listing = sbom.sbom(version, (bundle / "LIBRARIES").read_text(), sbom.cargo_lock(), epoch)
    path = pathlib.Path(folder) / rootfs.HOME / "sbom.spdx.json"
    path.write_text(json.dumps(listing, indent=1, sort_keys=True) + "\n")
    path.chmod(0o644)


def write(folder, name, version, epoch, out):
    """Returns the manifest's digest: what the image is pinned by."""
    archive = oci.Archive()
    created = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    layers, ids, history = [], [], []
    for title, paths in rootfs.layers(folder):
        data = oci.layer(folder, paths)
        ids.append(oci.digest(data))
        layers.append(archive.add(oci.compressed(data), oci.MEDIA + "layer.v1.tar+gzip"))
        history.append({"created": created, "created_by": "deploy/image.sh", "comment": title})
    config = archive.add_json(
        {"created": created, "architecture": "amd64", "os": "linux", "history": history,
         "config": {"User": f"{rootfs.USER}:{rootfs.USER}", "WorkingDir": "/tmp", "Entrypoint": ["baton"],
                    "Env": [f"{key}={value}" for key, value in rootfs.ENVIRONMENT.items()],
                    "Labels": {"org.opencontainers.image.title": "baton", "org.opencontainers.image.version": version}},
         "rootfs": {"type": "layers", "diff_ids": ids}}, oci.MEDIA + "config.v1+json")
    manifest = archive.add_json({"schemaVersion": 2, "mediaType": oci.MEDIA + "manifest.v1+json", "config": config,
                                 "layers": layers}, oci.MEDIA + "manifest.v1+json")
    archive.write(out, manifest, name, config, layers)
    return manifest["digest"]


if __name__ == "__main__":
    main()
