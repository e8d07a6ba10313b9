"""The objects that Helm makes are sound, fit together and keep what the chart promises."""
import base64
import re
import subprocess

import pytest
from conftest import NO_TOOLS
from render import BIN, CHART, KUBERNETES, SOURCE, TOOLS, containers, helm, selected, template

COMPONENTS = ("router", "prefill", "decode")
FOREIGN = {"ScaledObject", "TriggerAuthentication", "PodMonitor", "PrometheusRule", "HTTPRoute", "Issuer", "Certificate"}  # other projects' kinds


def config_of(objects, component):
    import yaml
    return yaml.safe_load(objects.one("ConfigMap", f"demo-baton-{component}")["data"]["cluster.yaml"])


def seconds(text):
    return float(text.removesuffix("s"))


def test_lint_finds_nothing(needs_helm):
    done = helm("lint", "--strict", CHART, "--kube-version", KUBERNETES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_objects_are_what_kubernetes_schemas_say(objects):
    if not (TOOLS / "python/kubernetes_validate").is_dir():
        pytest.skip(f"no schemas: {NO_TOOLS}")
    import kubernetes_validate
    checked = 0
    for each in objects:
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, KUBERNETES.rsplit(".", 1)[0], strict=True)
            checked += 1
    assert checked >= 15


def test_the_programs_accept_the_files_written_for_them(objects, tmp_path):
    if not (BIN / "baton").exists():
        pytest.skip(f"no {BIN / 'baton'}: tests/run.sh unit builds it")
    for component in COMPONENTS:
        file = tmp_path / f"{component}.yaml"
        file.write_text(objects.one("ConfigMap", f"demo-baton-{component}")["data"]["cluster.yaml"])
        # The pods' path of the model is not one of this machine.
        done = subprocess.run([BIN / "baton", "check", "--config", file, "--model", SOURCE / "models/baton-demo"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{component}: {done.stderr}"


def test_nobody_is_root_writes_to_the_image_or_has_capabilities(objects):
    for name, pod in objects.pods():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), name
        for container in containers(pod):
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"], name
            assert security["capabilities"]["drop"] == ["ALL"], name
            rdma = any(key.startswith("rdma/") for key in container.get("resources", {}).get("limits", {}))
            assert security["capabilities"].get("add", []) == (["IPC_LOCK"] if rdma else []), name
            assert "privileged" not in security and "runAsUser" not in security, name


def test_no_pod_has_a_token_of_the_api_server(objects):
    accounts = {each["metadata"]["name"]: each for each in objects.of("ServiceAccount")}
    assert all(each["automountServiceAccountToken"] is False for each in accounts.values())
    for name, pod in objects.pods():
        assert pod["spec"]["automountServiceAccountToken"] is False, name
    named = [each["spec"]["template"]["spec"]["serviceAccountName"] for each in objects.of("Deployment")]
    assert sorted(named) == sorted(accounts), "one each, each its own"
    assert not [each for each in objects if "Role" in each["kind"]]


def test_a_pod_has_time_to_drain(objects):
    for component in COMPONENTS:
        spec = objects.one("Deployment", f"demo-baton-{component}")["spec"]["template"]["spec"]
        hook = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        drain = seconds(config_of(objects, component)[component]["drain_timeout"])
        assert spec["terminationGracePeriodSeconds"] >= hook + drain + 10, component
        # A router turns new requests away when it drains: Services must have forgotten it by then.
        assert (hook >= 5) == (component == "router")


def test_liveness_never_ends_a_worker_that_loads_or_drains(objects):
    for component in ("prefill", "decode"):
        container = objects.one("Deployment", f"demo-baton-{component}")["spec"]["template"]["spec"]["containers"][0]
        startup = container["startupProbe"]
        # Until the program runs; loading is no part of it.
        assert startup["periodSeconds"] * startup["failureThreshold"] == 60
        # 'liveness' serves while a load or the engine makes progress, drains included; '' does not serve while it drains.
        assert startup["grpc"]["service"] == container["livenessProbe"]["grpc"]["service"] == "liveness"
        assert "service" not in container["readinessProbe"]["grpc"]


def test_ports_and_references_exist(objects):
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    for name, pod in objects.pods():
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names, name
        for container in containers(pod):
            mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
            assert mounts <= set(volumes), name
            ports = {port["name"] for port in container.get("ports", [])}
            numbers = {port["containerPort"] for port in container.get("ports", [])}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind, {})
                if "httpGet" in probe:
                    assert probe["httpGet"]["port"] in ports, name
                if "grpc" in probe:
                    assert probe["grpc"]["port"] in numbers, name
    for service in objects.of("Service"):
        pods = selected(objects, service["spec"]["selector"])
        assert len(pods) == 1, service["metadata"]["name"]
        ports = {port["name"] for port in pods[0]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        for each in objects.of(kind):
            selector = each["spec"].get("selector") or each["spec"]["podSelector"]
            assert len(selected(objects, selector)) == 1, each["metadata"]["name"]
    for each in objects.of("HorizontalPodAutoscaler") + objects.of("ScaledObject"):
        assert ("Deployment", each["spec"]["scaleTargetRef"]["name"]) in names


def test_objects_are_in_the_release_namespace_and_names_are_not_taken_twice(objects):
    assert {each["metadata"]["namespace"] for each in objects} == {"serving"}
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))


def test_workers_dial_every_router_and_before_it_is_ready(objects):
    service = objects.one("Service", "demo-baton-router-peers")
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    for component in ("prefill", "decode"):
        assert config_of(objects, component)[component]["routers"] == "demo-baton-router-peers.serving.svc:9000"


def test_only_routers_and_workers_of_the_release_reach_workers(objects):
    for component in ("prefill", "decode"):
        for policy in objects.of("NetworkPolicy"):
            if not policy["metadata"]["name"].endswith(component):
                continue
            for rule in policy["spec"]["ingress"]:
                if rule.get("ports") == [{"port": "metrics"}]:
                    continue
                assert rule["from"], "nobody in particular is everybody"
                for peer in rule["from"]:
                    labels = peer["podSelector"]["matchLabels"]
                    assert labels["app.kubernetes.io/instance"] == "demo"
                    assert labels["app.kubernetes.io/component"] in COMPONENTS


def test_an_option_rolls_the_pods_that_have_it_and_no_others(render):
    def checksums(objects):
        return [objects.one("Deployment", f"demo-baton-{component}")["spec"]["template"]["metadata"]["annotations"]
                ["checksum/config"] for component in COMPONENTS]
    before = checksums(render())
    router, prefill, decode = checksums(render("decode.config.batch_sequences_max=32"))
    assert (router, prefill) == tuple(before[:2]) and decode != before[2]
    assert all(one != other for one, other in zip(before, checksums(render("model.config.kv_dtype=\"int8\""))))


def test_a_pool_that_is_scaled_by_others_names_no_number(render):
    objects = render('decode.autoscaling.by="hpa"')
    assert "replicas" not in objects.one("Deployment", "demo-baton-decode")["spec"]
    assert objects.one("Deployment", "demo-baton-prefill")["spec"]["replicas"] == 1


PLANNED = ('planner.enabled=true', 'prefill.autoscaling.by="keda"', 'decode={"autoscaling": {"by": "keda", "minReplicas": 0}}')


def test_a_planned_pool_asks_the_planner_which_has_its_bounds(render):
    objects = render(*PLANNED, "decode.gpus=2")
    for role in ("prefill", "decode"):
        scaled = objects.one("ScaledObject", f"demo-baton-{role}")["spec"]
        trigger, = scaled["triggers"]
        assert trigger == {"type": "external", "metadata": {"scalerAddress": "demo-baton-planner.serving.svc:9600", "pool": role}}
        told = config_of(objects, "planner")["planner"]
        assert (told[f"{role}_min"], told[f"{role}_max"]) == (scaled["minReplicaCount"], scaled["maxReplicaCount"])
    assert (told["prefill_gpus"], told["decode_gpus"], told["decode_min"]) == (1, 2, 0)
    assert told["routers"] == "demo-baton-router-peers.serving.svc:8000"
    ports = {port["name"]: port["port"] for port in objects.one("Service", "demo-baton-planner")["spec"]["ports"]}
    assert ports == {"grpc": 9600, "http": 9601}


def test_requests_wait_for_a_pool_that_sleeps_and_only_then(render):
    assert config_of(render(*PLANNED), "router")["router"]["queue_without_workers"] is True
    assert "queue_without_workers" not in config_of(render(), "router")["router"]


def test_a_router_is_reached_while_its_pool_sleeps_whoever_it_knows(render):
    def asked(objects):
        container, = objects.one("Deployment", "demo-baton-router")["spec"]["template"]["spec"]["containers"]
        return container["readinessProbe"]["httpGet"]["path"]
    assert asked(render(*PLANNED)) == "/health/live"
    assert asked(render()) == "/health/ready"


def test_the_planner_accepts_the_file_written_for_it(render, tmp_path):
    if not (BIN / "baton").exists():
        pytest.skip(f"no {BIN / 'baton'}: tests/run.sh unit builds it")
    file = tmp_path / "planner.yaml"
    file.write_text(render(*PLANNED).one("ConfigMap", "demo-baton-planner")["data"]["cluster.yaml"])
    done = subprocess.run([BIN / "baton", "check", "--config", file, "--model", SOURCE / "models/baton-demo"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(r"planner\.decode_min +0 ", done.stdout), done.stdout


def test_without_it_there_is_no_planner(render):
    assert not [each for each in render() if "planner" in each["metadata"]["name"]]


def test_threads_are_those_of_the_pod(render):
    def threads(objects):
        pod = objects.one("Deployment", "demo-baton-decode")["spec"]["template"]
        return [each["valueFrom"]["resourceFieldRef"]["resource"] for each in pod["spec"]["containers"][0]["env"]
                if each["name"] == "BATON_DECODE_THREADS"]
    assert threads(render()) == ["requests.cpu"]
    assert threads(render('decode.resources.limits.cpu="4"')) == ["limits.cpu"]
    assert threads(render("decode.config.threads=3")) == []
    assert threads(render("decode.gpus=1")) == []


def test_gpus_are_asked_for_and_told_to_the_worker(render):
    objects = render("decode.gpus=4")
    container = objects.one("Deployment", "demo-baton-decode")["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 4
    told = config_of(objects, "decode")["decode"]
    assert (told["device"], told["tensor_parallel_size"]) == ("cuda:0", 4)


def test_numbers_of_tokens_are_written_as_such(render):
    objects = render("router.config.queue_tokens_max=4194304", "router.config.tenants={\"gold\": 1.5}")
    text = objects.one("ConfigMap", "demo-baton-router")["data"]["cluster.yaml"]
    assert "queue_tokens_max: 4194304\n" in text + "\n" and "gold: 1.5" in text


def test_only_the_api_is_shown_outside(needs_helm):
    from render import VALUES, Objects
    open_, = [path for path in VALUES if path.stem == "open"]
    objects = Objects(template("--values", open_).stdout)
    ingress, = objects.of("Ingress")
    route, = objects.of("HTTPRoute")
    assert [path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]] == ["/v1"]
    assert [match["path"]["value"] for rule in route["spec"]["rules"] for match in rule["matches"]] == ["/v1"]
    assert "grpc" not in [port["name"] for port in Objects(template().stdout).one("Service", "demo-baton")["spec"]["ports"]]


ROLES = {"router": "router.baton.internal", "worker": "worker.baton.internal"}
NAMES = ROLES | {"planner": "demo-baton-planner.serving.svc"}


def secrets_of(pod):
    return {volume["name"]: volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume}


def test_tls_by_the_chart_is_a_ca_and_a_certificate_for_each_role(render, tmp_path):
    objects = render("tls.enabled=true")
    for role, name in ROLES.items():
        data = objects.one("Secret", f"demo-baton-{role}-tls")["data"]
        files = {}
        for file in ("ca.crt", "tls.crt", "tls.key"):
            files[file] = tmp_path / f"{role}-{file}"
            files[file].write_bytes(base64.b64decode(data[file]))
        certificate = subprocess.run(["openssl", "x509", "-in", files["tls.crt"], "-noout", "-ext", "subjectAltName"],
                                     capture_output=True, text=True, check=True).stdout
        assert f"DNS:{name}" in certificate
        for other in set(ROLES.values()) - {name}:
            assert other not in certificate
        if (BIN / "baton").exists():  # the programs' own check: it comes before the router is asked
            done = subprocess.run([BIN / "baton", "doctor", "--http", "127.0.0.1:1", "--tls-certificate", files["tls.crt"],
                                   "--tls-key", files["tls.key"], "--tls-ca", files["ca.crt"]], capture_output=True,
                                  text=True, timeout=30)
            assert "no word from a router" in done.stderr, done.stderr
    assert secrets_of(objects.one("Deployment", "demo-baton-router")["spec"]["template"]) == {
        "tls": "demo-baton-router-tls"}


@pytest.mark.parametrize("setting, kinds", [
    ('tls={"enabled": true, "source": "certManager"}', {"Issuer": 2, "Certificate": 3}),
    ('tls={"enabled": true, "source": "certManager", "certManager": {"issuer": "ours"}}', {"Certificate": 2}),
    ('tls={"enabled": true, "source": "secret", "secret": {"router": "r", "worker": "w"}}', {}),
    ('tls={"enabled": true, "source": "certManager"},planner={"enabled": true}', {"Issuer": 2, "Certificate": 4}),
])
def test_tls_by_others_makes_no_secret(render, setting, kinds):
    objects = render(setting)
    assert {kind: len(objects.of(kind)) for kind in ("Issuer", "Certificate") if objects.of(kind)} == kinds
    assert not objects.of("Secret")
    for each in objects.of("Certificate"):
        if not each["spec"].get("isCA"):
            role = each["metadata"]["name"].removeprefix("demo-baton-").removesuffix("-tls")
            assert NAMES[role] in each["spec"]["dnsNames"]


def test_with_tls_every_program_is_given_its_files_and_probes_need_no_certificate(render):
    for objects in (render("tls.enabled=true"), render()):
        for component in COMPONENTS:
            config = config_of(objects, component)[component]
            container = objects.one("Deployment", f"demo-baton-{component}")["spec"]["template"]["spec"]["containers"][0]
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert ("tls_certificate" in config) == ("/etc/baton-tls" in mounts)
            if component != "router":
                for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                    assert config["health"] == f"0.0.0.0:{container[kind]['grpc']['port']}"


def test_keys_and_https_reach_the_router_alone(render):
    objects = render('apiKeys.secret="who"', 'router.httpTlsSecret="door"')
    for component in COMPONENTS:
        pod = objects.one("Deployment", f"demo-baton-{component}")["spec"]["template"]
        assert secrets_of(pod) == ({"https": "door", "keys": "who"} if component == "router" else {})
    config = config_of(objects, "router")["router"]
    assert config["api_keys_file"] == "/etc/baton-keys/keys" and config["http_tls_key"] == "/etc/baton-https/tls.key"
    container = objects.one("Deployment", "demo-baton-router")["spec"]["template"]["spec"]["containers"][0]
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[kind]["httpGet"]["scheme"] == "HTTPS"
    assert not objects.of("Pod"), "helm test has no key to ask with"


BEHIND_DOORS = (*PLANNED, 'apiKeys={"secret": "who", "plannerKey": "planner"}', 'router.httpTlsSecret="door"',
                'planner.httpsName="chat.example.org"')


def test_the_planner_has_one_key_and_the_routers_certificate_but_not_its_key(render):
    objects = render(*BEHIND_DOORS)
    config = config_of(objects, "planner")["planner"]
    assert config["api_key_file"] == "/etc/baton-keys/planner"
    assert (config["http_tls_ca"], config["http_tls_name"]) == ("/etc/baton-https/tls.crt", "chat.example.org")
    pod = objects.one("Deployment", "demo-baton-planner")["spec"]["template"]
    shown = {volume["name"]: [item["key"] for item in volume["secret"]["items"]] for volume in pod["spec"]["volumes"]
             if "secret" in volume}
    assert shown == {"keys": ["planner"], "https": ["tls.crt"]}
    assert {"/etc/baton-keys", "/etc/baton-https"} <= {
        mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}


def test_keda_asks_the_planner_by_tls_with_a_certificate_for_the_name_that_it_dials(render, tmp_path):
    objects = render(*PLANNED, "tls.enabled=true")
    authentication, = objects.of("TriggerAuthentication")
    assert {each["parameter"]: each["key"] for each in authentication["spec"]["secretTargetRef"]} == {
        "caCert": "ca.crt", "tlsClientCert": "tls.crt", "tlsClientKey": "tls.key"}
    secret, = {each["name"] for each in authentication["spec"]["secretTargetRef"]}
    assert secrets_of(objects.one("Deployment", "demo-baton-planner")["spec"]["template"]) == {"tls": secret}
    for role in ("prefill", "decode"):
        trigger, = objects.one("ScaledObject", f"demo-baton-{role}")["spec"]["triggers"]
        assert trigger["metadata"]["enableTLS"] == "true"
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    data = {name: base64.b64decode(value) for name, value in objects.one("Secret", secret)["data"].items()}
    for name, value in data.items():
        (tmp_path / name).write_bytes(value)
    host = trigger["metadata"]["scalerAddress"].rpartition(":")[0]
    subprocess.run(["openssl", "verify", "-CAfile", tmp_path / "ca.crt", "-verify_hostname", host, tmp_path / "tls.crt"],
                   capture_output=True, check=True)
    assert config_of(objects, "planner")["planner"]["tls_certificate"] == "/etc/baton-tls/tls.crt"


@pytest.mark.parametrize("more", [(), ("tls.enabled=true",), BEHIND_DOORS])
def test_the_planner_s_pages_are_asked_without_tls_by_probes_and_prometheus(render, more):
    objects = render(*PLANNED, *more, "monitoring.podMonitor.enabled=true")
    container = objects.one("Deployment", "demo-baton-planner")["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 9600, "metrics": 9601}
    for kind in ("readinessProbe", "livenessProbe"):
        assert container[kind]["httpGet"]["port"] == "metrics" and "scheme" not in container[kind]["httpGet"]
    monitor, = objects.of("PodMonitor")
    asked, = [each for each in monitor["spec"]["podMetricsEndpoints"] if each["port"] == "metrics"]
    assert "scheme" not in asked
