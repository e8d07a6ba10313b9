"""Alerts fire when they should and are quiet when they should be; what the autoscalers ask is a question too."""
import pathlib
import shutil
import subprocess

import pytest
from conftest import NO_TOOLS
from render import TOOLS, VALUES, Objects, template

PROMTOOL = TOOLS / "bin/promtool"
QUESTIONS = pathlib.Path(__file__).parent / "alerts.yaml"


@pytest.fixture
def rules(needs_helm, tmp_path):
    """The chart's rules as Prometheus reads them, beside the questions."""
    import yaml
    if not PROMTOOL.exists():
        pytest.skip(f"no promtool: {NO_TOOLS}")
    groups = []
    for path in VALUES:
        objects = Objects(template("--values", path).stdout)
        for rule in objects.of("PrometheusRule"):
            groups += rule["spec"]["groups"]
        for scaled in objects.of("ScaledObject"):
            groups.append({"name": f"{path.stem} {scaled['metadata']['name']}", "rules": [
                {"record": "asked", "expr": trigger["metadata"]["query"]} for trigger in scaled["spec"]["triggers"] if "query" in trigger["metadata"]]})
    assert len(groups) >= 3
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    shutil.copy(QUESTIONS, tmp_path)
    return tmp_path


def promtool(*arguments):
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_question_is_understood(rules):
    promtool("check", "rules", rules / "rules.yaml")


def test_alerts_fire_when_they_should_and_are_quiet_when_they_should_be(rules):
    promtool("test", "rules", rules / "alerts.yaml")


def test_every_alert_is_seen_to_fire_and_to_be_quiet(rules):
    import yaml
    named = {rule["alert"] for group in yaml.safe_load((rules / "rules.yaml").read_text())["groups"]
             for rule in group["rules"] if "alert" in rule}
    asked = [each for test in yaml.safe_load(QUESTIONS.read_text())["tests"] for each in test["alert_rule_test"]]
    assert named == {each["alertname"] for each in asked if each["exp_alerts"]}
    assert named == {each["alertname"] for each in asked if not each["exp_alerts"]}
