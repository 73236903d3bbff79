"""The rules and the dashboard that an operator gets: true of a real scrape, checked by Prometheus' own program."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from test_server import serving, settings

ROOT = Path(__file__).parent.parent
RULES, RULE_TESTS = (ROOT / "deploy/prometheus" / name for name in ("alerts.yml", "alerts_test.yml"))
DASHBOARD = ROOT / "deploy/grafana/trunkline.json"
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
SUFFIX = re.compile(r"_(bucket|count|sum|total)$")


def named(expression: str) -> set[str]:
    """The metrics of an expression, without what histograms and counters add to their names."""
    names = re.findall(r"\b(?:trunkline|process)_\w+", expression)
    return {SUFFIX.sub("", name) for name in names}


def expressions() -> list[str]:
    """Those of all rules, and of the dashboard's panels and variables."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    return [rule["expr"] for rule in ALERTS] + panels + variables


async def test_every_metric_that_is_asked_for_is_in_a_scrape(tmp_path: Path) -> None:
    trunk = {"name": "acme", "targets": ["sip:127.0.0.9"], "keep_alive": 0, "register": True, "username": "us"}
    sip = {"port": 0, "tls_port": "off", "trunks": [trunk | {"password": "secret"}]}
    async with serving(settings(tmp_path, sip=sip)) as (_, client, _):
        text = (await client.get("/metrics")).text
    served = {SUFFIX.sub("", sample.name) for one in text_string_to_metric_families(text) for sample in one.samples}
    served |= {one.name for one in text_string_to_metric_families(text)}
    asked = set().union(*map(named, expressions()))
    assert len(asked) > 15
    assert asked - served == set()


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert len(ALERTS) == 12
    pages = {ROOT / rule["annotations"]["runbook"]: rule for rule in ALERTS}
    assert set(pages) == set((ROOT / "docs/operations/runbooks").glob("*.md"))
    for page, rule in pages.items():
        first = page.read_text().split("\n\n")[1]
        said = f"Alert `{rule['alert']}`, {rule['labels']['severity']}: `{rule['expr']}` for {rule['for']}."
        assert first == said, page.name


@pytest.mark.process
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed; `make test` installs it")
@pytest.mark.parametrize("words", [("check", "rules", str(RULES)), ("test", "rules", str(RULE_TESTS))])
def test_promtool_takes_the_rules_and_they_fire_where_they_should(words: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
