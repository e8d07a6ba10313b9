"""Who is who in a cluster: certificates, and the files by which clients find the API server."""
import base64
import json
import pathlib
import subprocess

COMPONENTS = {"admin": "/O=system:masters/CN=admin", "controllers": "/CN=system:kube-controller-manager",
              "scheduler": "/CN=system:kube-scheduler", "proxy": "/CN=system:kube-proxy",
              "to-kubelets": "/O=system:masters/CN=kube-apiserver-kubelet-client"}


class Credentials:
    """PEM files in one folder: two authorities, a certificate for each component, the key of service accounts."""

    def __init__(self, folder, addresses):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, mode=0o700)
        for authority in ("ca", "front-proxy-ca"):
            self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                          "-subj", f"/CN={authority}", "-keyout", f"{authority}.key", "-out", f"{authority}.crt")
        self.issue("apiserver", "/CN=kube-apiserver", [f"IP:{address}" for address in addresses] + [
            "DNS:localhost", "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc"])
        for name, subject in COMPONENTS.items():
            self.issue(name, subject)
        self.issue("front-proxy", "/CN=front-proxy", authority="front-proxy-ca")
        self._openssl("genrsa", "-out", "accounts.key", "2048")
        self._openssl("rsa", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")

    def issue(self, name, subject, names=(), authority="ca"):
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
                      "-keyout", f"{name}.key", "-out", f"{name}.csr")
        extensions = self / f"{name}.ext"
        extensions.write_text("extendedKeyUsage=serverAuth,clientAuth\n" + (f"subjectAltName={','.join(names)}\n" if names else ""))
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key",
                      "-CAcreateserial", "-days", "1", "-extfile", extensions.name, "-out", f"{name}.crt")

    def kubeconfig(self, name, server):
        """The file by which `name` reaches the API server."""
        path = self / f"{name}.kubeconfig"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": self._base64("ca.crt")}}],
            "users": [{"name": name, "user": {"client-certificate-data": self._base64(f"{name}.crt"),
                                              "client-key-data": self._base64(f"{name}.key")}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}]}))
        return path

    def __truediv__(self, name):
        return self.folder / name

    def _base64(self, name):
        return base64.b64encode((self / name).read_bytes()).decode()

    def _openssl(self, *words):
        subprocess.run(["openssl", *map(str, words)], cwd=self.folder, check=True, capture_output=True)
