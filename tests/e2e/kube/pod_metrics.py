"""Stands in for the adapter that serves Prometheus' series as metrics of pods (custom.metrics.k8s.io)."""
import http.server
import json
import re
import ssl
import threading
import time
import urllib.parse

GROUP = "custom.metrics.k8s.io"
VERSION = f"{GROUP}/v1beta2"
QUERY = re.compile(rf"/apis/{VERSION}/namespaces/([^/]+)/pods/\*/([^/?]+)")


class PodMetrics:
    """`values` says for each metric what every pod of a namespace has; `pods(namespace, selector)` says which these are."""

    def __init__(self, credentials, pods):
        self.values, self.pods = {}, pods
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(credentials / "apiserver.crt", credentials / "apiserver.key")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def objects(self):
        """What leads the API server here: it runs outside of its cluster, and has no way to a Service's address."""
        where = {"name": "pod-metrics", "namespace": "kube-system"}
        yield {"apiVersion": "v1", "kind": "Service", "metadata": where,
               "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": self.port}]}}
        yield {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": f"v1beta2.{GROUP}"},
               "spec": {"group": GROUP, "version": "v1beta2", "groupPriorityMinimum": 100, "versionPriority": 100,
                        "insecureSkipTLSVerify": True, "service": where | {"port": self.port}}}

    def answer(self, path):
        asked = urllib.parse.urlsplit(urllib.parse.unquote(path))
        if asked.path == f"/apis/{GROUP}":
            version = {"groupVersion": VERSION, "version": "v1beta2"}
            return {"kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version}
        if asked.path == f"/apis/{VERSION}":
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION, "resources": [
                {"name": f"pods/{metric}", "singularName": "", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
                for metric in self.values]}
        found = QUERY.match(asked.path)
        if not found or found[2] not in self.values:
            return None
        selector, = urllib.parse.parse_qs(asked.query).get("labelSelector", [""])
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {"kind": "MetricValueList", "apiVersion": VERSION, "metadata": {}, "items": [
            {"describedObject": {"kind": "Pod", "namespace": found[1], "name": pod, "apiVersion": "/v1"},
             "metric": {"name": found[2]}, "timestamp": now, "value": str(self.values[found[2]])}
            for pod in self.pods(found[1], selector)]}

    def _handler(self):
        metrics = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                said = metrics.answer(self.path)
                body = json.dumps(said or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}).encode()
                self.send_response(200 if said else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        return Handler

    def close(self):
        self.server.shutdown()
        self.server.server_close()
