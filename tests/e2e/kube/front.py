"""The front door as this release's clients find it: behind HTTPS and API keys."""
import base64
import json
import os
import pathlib
import secrets
import ssl
import subprocess
import sys
import urllib.request

from steps import Failed

NAME = "chat.example.org"
# What the chart is told of it; the Secrets are people's own.
VALUES = {"router": {"httpTlsSecret": "front-door"}, "planner": {"httpsName": NAME},
          "apiKeys": {"secret": "who-may-ask", "testKey": "test", "plannerKey": "planner"}}


class Front:
    """Its address in the cluster; keys and certificate are made here, before the release is."""

    def __init__(self, cluster, namespace):
        own = cluster.credentials
        own.issue("front-door", f"/CN={NAME}", [f"DNS:{NAME}", "IP:127.0.0.1"])
        self.cluster, self.namespace, self.url, self.ca = cluster, namespace, None, own / "ca.crt"
        self.keys = {name: f"sk-{secrets.token_hex(12)}" for name in ("clients", "test", "planner")}
        self._secret("front-door", "kubernetes.io/tls", {f"tls.{end}": (own / f"front-door.{end}").read_text() for end in ("crt", "key")})
        self._secret("who-may-ask", "Opaque", {"keys": "".join(f"{key}\n" for key in self.keys.values()),
                                               "test": self.keys["test"], "planner": self.keys["planner"]})

    def _secret(self, name, kind, texts):
        data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "type": kind, "data": data,
                            "metadata": {"name": name, "namespace": self.namespace}})

    def forget(self):
        """The Secrets, which no release has made."""
        self.cluster.kubectl("-n", self.namespace, "delete", "secret", "front-door", "who-may-ask")

    def find(self, service):
        address = self.cluster.get_one("service", service, "-n", self.namespace)["spec"]["clusterIP"]
        self.url = f"https://{address}:8000"

    def client(self):
        """What a client's process is told beside what it is to ask: a key on its command line would be everybody's."""
        return os.environ | {"FRONT_KEY": self.keys["clients"], "FRONT_CA": str(self.ca)}

    def ask(self, node, body, seconds=30, **headers):
        """The answer to one chat, asked from a node."""
        command = [*node.inside, sys.executable, pathlib.Path(__file__), f"{self.url}/v1/chat/completions", json.dumps(body),
                   json.dumps(headers), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, env=self.client())
        if done.returncode != 0:
            raise Failed(done.stderr.splitlines()[-1])
        return json.loads(done.stdout)


def post(url, body, timeout, headers=()):
    """By a client that has been told (`Front.client`) its key, and whom to believe."""
    # Clients dial the Service's address; its name is nobody's whom they could ask.
    context = ssl.create_default_context(cafile=os.environ["FRONT_CA"])
    context.check_hostname = False
    request = urllib.request.Request(url, json.dumps(body).encode(), {
        "Content-Type": "application/json", "Authorization": f"Bearer {os.environ['FRONT_KEY']}", **dict(headers)})
    return urllib.request.urlopen(request, timeout=timeout, context=context)


if __name__ == "__main__":
    with post(sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[4]), json.loads(sys.argv[3])) as reply:
        print(reply.read().decode())
