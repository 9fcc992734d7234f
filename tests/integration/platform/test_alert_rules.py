"""Each metric that a shipped alert rule names is one that /metrics exports, with those labels."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from django.test import Client

from apps.partitions import metrics
from apps.partitions.board import Teller
from apps.telemetry.board import (
    RETIRED_KEY,
    AccountReport,
    RollupLag,
    put_account,
    put_rollup_lag,
)
from apps.telemetry.slices import to_ms
from apps.warning import plugins

RULES = Path(__file__).resolve().parents[3] / "deploy/prometheus/alerts.yml"
DOCS = RULES.parents[2] / "docs/operations.md"
_NAME = re.compile(r"\bohmwatch_\w+")
_SELECTOR = re.compile(r"\b(ohmwatch_\w+)\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*[!=~]+\s*\"")
_PLACEHOLDER = re.compile(r"\$labels\.(\w+)")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def count_everything(client: redis.Redis) -> None:
    """As a detection worker would to which all has happened."""
    metrics.FINDINGS.labels("overtemperature", "warning").inc()
    metrics.SHADOW_FINDINGS.labels("overtemperature").inc()
    metrics.FAILURES.labels("overtemperature", "DetectorTimedOut").inc()
    metrics.PASSES.labels("judged").inc()
    metrics.LAG_SECONDS.labels(0).set(1.0)
    Teller(client).tell(now_ms=to_ms(datetime.now(UTC)))


@pytest.fixture
def exported(db: None, client: Client, redis_log: redis.Redis) -> dict[str, set[str]]:
    """Every metric that there is once all have something to say, and its labels."""
    redis_log.hset("ow:counts:kunlun", mapping={"stored": 1, "quarantined:too_large": 1})
    redis_log.hset("ow:lag", "kunlun", 5)
    redis_log.hset("ow:late", "connectors_given_up", 1)
    slot = {"at_ms": 1, "holding": {"redis": 1}, "directory_age_s": 1.0}
    redis_log.set("ow:acquisition:0", json.dumps(slot))
    redis_log.set(f"{RETIRED_KEY}1", 1)
    put_account(AccountReport(False, 1, 0, 1, 1, 1, open={"kunlun": 1}))
    put_rollup_lag(RollupLag(1, {"1h": 1}, {"1h": 1.0}))
    count_everything(redis_log)
    plugins.put(redis_log, plugins.Report("thermal", "failing", datetime.now(UTC)))
    found: dict[str, set[str]] = {}
    for line in client.get("/metrics").text.splitlines():
        if matched := re.match(r"(ohmwatch_\w+)(?:\{(.*)\})? ", line):
            labels = re.findall(r"(\w+)=\"", matched[2] or "")
            found.setdefault(matched[1], set()).update(labels)
    return found


def test_every_metric_that_a_rule_names_is_exported(exported: dict[str, set[str]]) -> None:
    for rule in rules():
        named = set(_NAME.findall(rule["expr"]))
        assert named, rule["alert"]
        assert named <= exported.keys(), rule["alert"]


def test_every_label_that_a_rule_names_is_there(exported: dict[str, set[str]]) -> None:
    for rule in rules():
        for metric, selected in _SELECTOR.findall(rule["expr"]):
            assert set(_LABEL.findall(selected)) <= exported[metric], rule["alert"]
        of_all = set[str]().union(*(exported[name] for name in _NAME.findall(rule["expr"])))
        said = " ".join(rule["annotations"].values())
        assert set(_PLACEHOLDER.findall(said)) <= of_all, rule["alert"]


def test_a_rule_says_what_is_wrong_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "what_to_do"}
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_every_metric_of_the_board_is_documented(exported: dict[str, set[str]]) -> None:
    documented = DOCS.read_text()
    # Those that a histogram is made of are documented under its own name.
    names = {re.sub(r"_seconds_(bucket|count|sum)$", "_seconds", name) for name in exported}
    assert {each.name for each in metrics.REGISTRY.collect()} <= {
        name.removesuffix("_total") for name in names
    }
    assert {name for name in names if f"`{name}`" not in documented} == set()
