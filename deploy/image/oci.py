"""Writes an OCI image archive: blobs by their digest, and what leads to them."""
import gzip
import hashlib
import io
import json
import os
import pathlib
import tarfile

MEDIA = "application/vnd.oci.image."


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(folder, paths):
    """The paths as an uncompressed layer, owned by root and without times: the same files, the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            where = pathlib.Path(folder) / path
            entry = tarfile.TarInfo(path)
            entry.mode = where.lstat().st_mode & 0o7777
            if where.is_symlink():
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, os.readlink(where), 0o777
                tar.addfile(entry)
            elif where.is_dir():
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            else:
                entry.size = where.stat().st_size
                with where.open("rb") as file:
                    tar.addfile(entry, file)
    return buffer.getvalue()


def compressed(data):
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()


class Archive:
    """Blobs and what names them, gathered and then written once."""

    def __init__(self):
        self.blobs = {}

    def add(self, data, media, **more):
        name = digest(data)
        self.blobs[name] = data
        return {"mediaType": media, "digest": name, "size": len(data), **more}

    def add_json(self, value, media, **more):
        return self.add(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), media, **more)

    def write(self, out, manifest, name, config, layers):
        """`manifest`, `config` and `layers` are descriptors that add() gave."""
        index = {"schemaVersion": 2, "mediaType": MEDIA + "index.v1+json", "manifests": [
            {**manifest, "platform": {"architecture": "amd64", "os": "linux"},
             "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}}]}
        # Of docker's own format, for a `docker load` that does not know OCI's.
        listing = [{"Config": blob_path(config), "RepoTags": [name], "Layers": [blob_path(each) for each in layers]}]
        files = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": index, "manifest.json": listing}
        with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
            for path, value in files.items():
                put(tar, path, json.dumps(value, sort_keys=True).encode())
            for name_, data in sorted(self.blobs.items()):
                put(tar, "blobs/" + name_.replace(":", "/"), data)


def blob_path(descriptor):
    return "blobs/" + descriptor["digest"].replace(":", "/")


def put(tar, path, data):
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))
