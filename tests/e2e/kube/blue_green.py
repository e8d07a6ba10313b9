"""A second release beside the first, of workers that could not be paired with it, and the traffic moved there and back."""
import copy
import json
import time

from load import Load, now
from release import Release
from steps import wait_for

PUBLIC = "public-chat"
# Blocks of another size: an upgrade in place would leave running requests nobody to go on at.
GREEN = {"router": {"replicas": 1}, "prefill": {"replicas": 1, "config": {"block_tokens": 32}},
         "decode": {"replicas": 1, "config": {"block_tokens": 32}}}


def steps(cluster, release, door, steps, folder):
    control = cluster.control
    with steps.step("blue-green") as said:
        control.apply({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": PUBLIC, "namespace": release.namespace},
            "spec": {"selector": routers_of(release), "ports": [{"name": "http", "port": 8000, "targetPort": "http"}]}})
        public = copy.copy(door)
        public.find(PUBLIC)
        load = Load(cluster.nodes[0], public)
        try:
            values = folder / "green.json"
            values.write_text(json.dumps(GREEN))
            green = Release(control, "green", release.namespace, *release.settings, "-f", values)
            began = now()
            green.install("--wait", "--timeout", "5m")
            green.helm("test", "green", "--timeout", "2m")
            point_at(control, green)
            wait_for(lambda: answers(cluster, public, green), 60, "requests go to the second release")
            there = load.none_failed(began)
            point_at(control, release)
            wait_for(lambda: answers(cluster, public, release), 60, "requests go to the first release again")
            load.settled()
            green.uninstall()
            said(f"a second release with other KV blocks beside the first, tested, and the Service of one's own pointed at it: {there}; "
                 f"pointed back, the second one uninstalled: {load.none_failed(began)}")
        finally:
            load.stop()
            control.try_kubectl("-n", release.namespace, "delete", "service", PUBLIC)


def routers_of(release):
    return {"app.kubernetes.io/component": "router", "app.kubernetes.io/instance": release.name}


def point_at(control, release):
    """The Service that clients know leads to this release's routers, as docs/operations/kubernetes.md has it."""
    selector = ",".join(f"{label}={value}" for label, value in routers_of(release).items())
    control.kubectl("-n", release.namespace, "set", "selector", "service", PUBLIC, selector)


def answers(cluster, door, release):
    """Whether a request goes to a router of this release."""
    identity = f"whose-{time.time_ns()}"
    body = {"model": "baton-demo", "max_tokens": 4, "messages": [{"role": "user", "content": "Whose are you?"}]}
    door.ask(cluster.nodes[0], body, **{"X-Request-Id": identity})
    return bool(release.why(identity))
