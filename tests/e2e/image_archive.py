"""Reads an OCI image archive."""
import hashlib
import io
import json
import tarfile


class Image:
    def __init__(self, path):
        self.path = path
        with tarfile.open(path) as tar:
            self.files = {member.name: tar.extractfile(member).read() for member in tar}
        self.index = json.loads(self.files["index.json"])
        self.entry, = self.index["manifests"]
        self.manifest = json.loads(self.blob(self.entry))
        self.config = json.loads(self.blob(self.manifest["config"]))

    def blob(self, descriptor):
        """The blob, when it is what its descriptor says."""
        data = self.files["blobs/" + descriptor["digest"].replace(":", "/")]
        assert "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"]
        assert len(data) == descriptor["size"]
        return data

    def layers(self):
        return [tarfile.open(fileobj=io.BytesIO(self.blob(each)), mode="r:gz") for each in self.manifest["layers"]]

    def members(self):
        return [member for layer in self.layers() for member in layer]

    def unpack(self, folder):
        for layer in self.layers():
            layer.extractall(folder, filter="tar") if hasattr(tarfile, "tar_filter") else layer.extractall(folder)
        return folder
