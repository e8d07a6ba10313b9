"""A certification authority for tests, by the openssl command."""
import os
import pathlib
import subprocess


class Authority:
    """Makes PEM files in a folder of its own; each is replaced at once, as a mounted secret is."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.ca = self.folder / "ca.crt"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-subj", f"/CN={self.folder.name}", "-keyout", "ca.key", "-out", "ca.crt")

    def issue(self, name, *alt_names):
        """Paths of certificate and key; alt_names as openssl has them: DNS:x, IP:y."""
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                      "-keyout", f"{name}.key.new", "-out", f"{name}.csr")
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(alt_names)}\n" if alt_names else "")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", "1", "-extfile", extensions.name, "-out", f"{name}.crt.new")
        for end in ("key", "crt"):
            os.replace(self.folder / f"{name}.{end}.new", self.folder / f"{name}.{end}")
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def flags(self, name, role, *more):
        """What a process of the cluster is given."""
        certificate, key = self.issue(name, f"DNS:{role}.baton.internal", *more)
        return ["--tls-certificate", certificate, "--tls-key", key, "--tls-ca", self.ca]

    def _openssl(self, *words):
        subprocess.run(["openssl", *map(str, words)], cwd=self.folder, check=True, capture_output=True)
