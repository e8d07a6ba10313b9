"""
Stands in for the Prometheus operator: finds the pods that a PodMonitor names, for a Prometheus that asks by HTTP.

    targets.py KUBECONFIG ADDRESS:PORT NAMESPACE MONITOR      GET /N: targets of its Nth endpoint
"""
import http.server
import json
import subprocess
import sys


def scrape_configs(monitor, address):
    """What the operator writes of a PodMonitor, with pods found here."""
    at = f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
    return [{
        "job_name": f"{at}/{number}", "scheme": each.get("scheme", "http"), "metrics_path": each["path"],
        "scrape_interval": each["interval"], "http_sd_configs": [{"url": f"http://{address}/{number}", "refresh_interval": "3s"}],
        "tls_config": {"insecure_skip_verify": each.get("tlsConfig", {}).get("insecureSkipVerify", False)},
        "relabel_configs": [{"target_label": "job", "replacement": at}],
    } for number, each in enumerate(monitor["spec"]["podMetricsEndpoints"])]


def targets(spec, pods, number):
    """As Prometheus' HTTP service discovery has them: every running pod that is selected and has the endpoint's port."""
    port = spec["podMetricsEndpoints"][number]["port"]
    return [{"targets": [f"{pod['status']['podIP']}:{each['containerPort']}"],
             "labels": {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"], "container": container["name"],
                        **{sanitized(name): pod["metadata"]["labels"].get(name, "") for name in spec["podTargetLabels"]}}}
            for pod in pods if pod["status"].get("podIP") and selected(spec["selector"], pod["metadata"]["labels"])
            for container in pod["spec"]["containers"] for each in container["ports"] if each.get("name") == port]


def selected(selector, labels):
    return selector["matchLabels"].items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in selector["matchExpressions"])


def sanitized(label):
    return "".join(each if each.isalnum() else "_" for each in label)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        kubeconfig, _, namespace, name = sys.argv[1:]

        def get(*what):
            return json.loads(subprocess.run(["kubectl", f"--kubeconfig={kubeconfig}", "-n", namespace, "get", *what, "-o", "json"],
                                             capture_output=True, check=True).stdout)
        spec = get("podmonitors.monitoring.coreos.com", name)["spec"]
        body = json.dumps(targets(spec, get("pods")["items"], int(self.path.strip("/")))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    host, _, port = sys.argv[2].rpartition(":")
    http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
