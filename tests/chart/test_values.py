"""Wrong values are refused with a sentence; what the schema and the alerts name exists in the programs."""
import json
import re
import subprocess

import pytest
from conftest import NO_TOOLS
from render import BIN, CHART, SOURCE, TOOLS, Objects, VALUES, template

REFUSED = [
    ("router.replicas=0", "/router/replicas"),
    ("router.replicaCount=2", "additional properties 'replicaCount' not allowed"),
    ('decode.replicas="two"', "/decode/replicas"),
    ("decode.replicas=0", "/decode/replicas"),
    ('model.source="s3"', "'demo', 'claim', 'hostPath', 'download'"),
    ("decode.config.batch_sequences_max=0", "/decode/config/batch_sequences_max"),
    ("decode.config.batch_size=8", "additional properties 'batch_size' not allowed"),
    ('prefill.config.kv_memory="4 gigs"', "/prefill/config/kv_memory"),
    ('prefill.config.kv_memory="4G"', "/prefill/config/kv_memory"),
    ("router.config.request_timeout=600", "/router/config/request_timeout"),
    ('router.config.placement="best"', "'cost'"),
    ('router.config.drain_timeout="5m"', "additional properties 'drain_timeout' not allowed"),
    ('decode.config.routers="elsewhere:9000"', "additional properties 'routers' not allowed"),
    ("prefill.drainSeconds=-1", "/prefill/drainSeconds"),
    ("prefill.resources.limits.memory=\"lots\"", "/prefill/resources/limits/memory"),
    ('log.format="xml"', "/log/format"),
    ('tls.source="letsencrypt"', "'chart', 'certManager', 'secret'"),
    ("tls.enabled=1", "/tls/enabled"),
    ('apiKeys.file="a/b"', "/apiKeys/file"),
    ('router.config.api_keys_file="/keys"', "additional properties 'api_keys_file' not allowed"),
    ("networkPolicy.clients={}", "/networkPolicy/clients"),
    ('joins="Chat_1"', "/joins"),
    ('router.alsoServes=[{"release": "b", "name": "b"}]', "source"),
    ('router.config.models={"b": "/models/b"}', "additional properties 'models' not allowed"),
    ("planner.config.ttft_target=1", "/planner/config/ttft_target"),
    ('planner.config.decode_max=4', "additional properties 'decode_max' not allowed"),
]
# What a schema cannot say.
REFUSED_TOGETHER = [
    ('model={"source": "claim", "name": "x"}', "model.claim.name is empty: name a PersistentVolumeClaim"),
    ('model={"source": "hostPath", "name": "x"}', "model.hostPath.path is empty"),
    ('model={"source": "download", "name": "x"}', "say what fetches the model"),
    ('model={"source": "claim", "claim": {"name": "weights"}}', "model.name is empty: say how clients call the model"),
    ("decode={\"maxSurge\": 0, \"maxUnavailable\": 0}", "no pod could ever be replaced"),
    ('decode.autoscaling={"by": "hpa", "minReplicas": 9}', "minReplicas is 9, more than maxReplicas, 4"),
    ('decode.autoscaling.by="keda"', "say which Prometheus KEDA asks"),
    ("decode.autoscaling.minReplicas=0", "only the planner wakes a pool that sleeps"),
    ('decode.config.transport="nccl"', "which is between GPUs, but decode.gpus is 0"),
    ('prefill.rdmaResource="rdma/hca"', "would be taken and not used"),
    ("decode.config.block_tokens=32", "never paired"),
    ('decode.resources.limits={"nvidia.com/gpu": 1}', "say decode.gpus instead"),
    ('tls={"enabled": true, "source": "secret"}', "name a Secret each with tls.crt, tls.key and ca.crt"),
    ('planner={"enabled": true},tls={"enabled": true, "source": "secret", "secret": {"router": "r", "worker": "w"}}',
     "tls.secret.planner is empty: name a Secret"),
    ('planner={"enabled": true},apiKeys={"secret": "who"}', "has no key to ask the routers with"),
    ('planner={"enabled": true},router={"httpTlsSecret": "door"}', "does not know what name the routers' certificate has"),
    ('router.alsoServes=[{"release": "b", "name": "baton-demo", "source": "demo"}]', "which another model is called already"),
    ('router.alsoServes=[{"release": "b", "name": "b", "source": "claim"}]', "alsoServes[0].source is claim, but claim.name is empty"),
    ('router.alsoServes=[{"release": "b", "name": "b", "source": "hostPath"}]', "hostPath.path is empty"),
    ('router.alsoServes=[{"release": "b", "name": "b", "source": "download"}]', "say what fetches the tokenizer"),
    ('joins="chat",ingress={"enabled": true, "host": "x"}', "belong to that release, which has the routers"),
    ('joins="chat",tls={"enabled": true}', "tls.secret.worker: chat-baton-worker-tls"),
    ('joins="chat",tls={"enabled": true, "source": "certManager"}', "tls.certManager.issuer, such as chat-baton-ca"),
    ('joins="chat",decode.autoscaling.by="keda",monitoring.prometheusAddress="http://prometheus"', "needs planner.enabled"),
    ("ingress.enabled=true", "ingress.host is empty"),
    ("httpRoute.enabled=true", "name a Gateway"),
]


@pytest.fixture(scope="module")
def values():
    """The chart's own values; needs no Helm."""
    if not (TOOLS / "python/jsonschema").is_dir():
        pytest.skip(f"no schemas: {NO_TOOLS}")
    import yaml
    return yaml.safe_load((CHART / "values.yaml").read_text())


def merged(values, more):
    """As Helm does it: maps by key, everything else as a whole."""
    if not (isinstance(values, dict) and isinstance(more, dict)):
        return more
    return {**values, **{key: merged(values.get(key), value) for key, value in more.items()}}


def wrong(values):
    """Where the schema refuses something."""
    import jsonschema
    return {"/".join(map(str, error.absolute_path)) for error in jsonschema.Draft7Validator(schema()).iter_errors(values)}


@pytest.mark.parametrize("setting", [setting for setting, _ in REFUSED])
def test_the_schema_alone_refuses_it_and_nothing_else(setting, values):
    name, value = setting.split("=", 1)
    more = json.loads(value)
    for key in reversed(name.split(".")):
        more = {key: more}
    assert not wrong(values)
    assert len(wrong(merged(values, more))) == 1, wrong(merged(values, more))


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)
def test_the_schema_takes_every_set_of_values(path, values):
    import yaml
    assert not wrong(merged(values, yaml.safe_load(path.read_text())))


# Decided by the chart: addresses, names, and what its other values stand for.
EVERYBODY = {"grpc", "ports_file", "drain_timeout", "log_level", "log_format", "tls_certificate", "tls_key", "tls_ca"}
OWNED = {"model": {"path", "name"},
         "router": EVERYBODY | {"http", "models", "http_tls_certificate", "http_tls_key", "api_keys_file"}}
OWNED["prefill"] = OWNED["decode"] = EVERYBODY | {
    "device", "tensor_parallel_size", "advertise", "routers", "metrics", "health", "worker_id"}
OWNED["planner"] = {f"{pool}_{what}" for pool in ("prefill", "decode") for what in ("min", "max", "gpus")} | {
    "routers", "model", "http", "api_key_file", "http_tls_ca", "http_tls_name"} | EVERYBODY - {"drain_timeout"}
DEFINITIONS = {"model": "modelConfig", "router": "routerConfig", "prefill": "workerConfig", "decode": "workerConfig",
               "planner": "plannerConfig"}


def schema():
    return json.loads((CHART / "values.schema.json").read_text())


@pytest.mark.parametrize("setting, sentence", REFUSED + REFUSED_TOGETHER)
def test_a_wrong_value_is_refused(setting, sentence, needs_helm):
    done = template("--set-json", setting)
    assert done.returncode != 0, "it was taken"
    assert sentence in done.stderr, done.stderr


def test_every_option_of_the_programs_is_the_chart_s_or_the_values_own():
    if not (BIN / "baton").exists():
        pytest.skip(f"no {BIN / 'baton'}: tests/run.sh unit builds it")
    shown = subprocess.run([BIN / "baton", "check", "--model", SOURCE / "models/baton-demo"], capture_output=True,
                           text=True, check=True, timeout=60).stdout
    for section, definition in DEFINITIONS.items():
        options = set(re.findall(rf"^{section}\.(\w+)", shown, re.M))
        assert options, section
        known = set(schema()["definitions"][definition]["properties"])
        missing = options - known - OWNED[section]
        assert not missing, f"name these in values.schema.json ({definition}), or in OWNED with a template: {missing}"
        assert not known & OWNED[section]


def test_every_value_has_a_place_in_the_schema_and_a_default(needs_helm):
    import yaml
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(where, value, node):
        node = resolve(node)
        properties = node.get("properties")
        if properties is None or not isinstance(value, dict):
            return
        assert node.get("additionalProperties") is False, where
        # Of `config` only what differs from the programs' own defaults is in the values.
        if not where.endswith(".config"):
            assert set(properties) - {"global"} == set(value), where
        for key in value:
            compare(f"{where}.{key}", value[key], properties[key])

    def resolve(node):
        while "$ref" in node or "allOf" in node:
            node = node["allOf"][0] if "allOf" in node else schema()["definitions"][node["$ref"].rsplit("/", 1)[1]]
        return node

    compare("values", values, schema())


def test_alerts_and_scalers_ask_for_metrics_that_the_programs_have(needs_helm):
    queries = []
    for path in VALUES:
        objects = Objects(template("--values", path).stdout)
        for rule in objects.of("PrometheusRule"):
            queries += [each["expr"] for group in rule["spec"]["groups"] for each in group["rules"]]
        for scaled in objects.of("ScaledObject"):
            queries += [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"] if "query" in trigger["metadata"]]
        for scaled in objects.of("HorizontalPodAutoscaler"):
            queries += [metric["pods"]["metric"]["name"] for metric in scaled["spec"]["metrics"]]
    names = {name for query in queries for name in re.findall(r"\bbaton_\w+", re.sub(r'"[^"]*"', "", query))}
    assert len(names) >= 8
    source = "".join(path.read_text() for folder in ("services", "common") for path in (SOURCE / folder).rglob("*metrics.cc"))
    assert not {name for name in names if f'"{name.removesuffix("_bucket")}"' not in source}


def alerts(objects):
    rules, = objects.of("PrometheusRule")
    return [rule for group in rules["spec"]["groups"] for rule in group["rules"]]


def test_every_alert_has_a_page_and_every_page_an_alert(render):
    folder = SOURCE / "docs/operations/runbooks"
    named = {rule["alert"] for rule in alerts(render("monitoring.rules.enabled=true"))}
    assert named == {path.stem for path in folder.glob("*.md")}
    overview = (SOURCE / "docs/operations/kubernetes.md").read_text()
    for name in named:
        page = (folder / f"{name}.md").read_text()
        assert page.startswith(f"# {name}\n") and "\n## See\n" in page and "\n## Do\n" in page, name
        assert f"(runbooks/{name}.md)" in overview, name


def test_pages_of_alerts_name_panels_and_pages_that_are_there():
    folder = SOURCE / "docs/operations/runbooks"
    boards = [json.loads(path.read_text()) for path in (CHART / "dashboards").glob("*.json")]
    panels = {panel["title"] for board in boards for panel in board["panels"]}
    titles = {board["title"] for board in boards} | {board["title"].removeprefix("Baton / ") for board in boards} | {"Baton"}
    for page in [*folder.glob("*.md"), SOURCE / "docs/operations/observe.md"]:
        text = page.read_text()
        for name in re.findall(r"(?<![*\w])\*([^*\n]+)\*(?![*\w])", text):
            assert name in panels | titles or "→" in name, f"{page.name}: {name}"
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_an_alert_leads_to_its_page_where_pages_are_served(render):
    for base in ("https://wiki.test/runbooks", "https://wiki.test/runbooks/"):
        for rule in alerts(render("monitoring.rules.enabled=true", f'monitoring.rules.runbooks="{base}"')):
            assert rule["annotations"]["runbook_url"] == f"https://wiki.test/runbooks/{rule['alert']}.md"
    assert all(rule["annotations"].keys() == {"summary"} for rule in alerts(render("monitoring.rules.enabled=true")))

