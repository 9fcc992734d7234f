"""docker-compose.yml is well formed, asks for its secrets, and is the product that `up` runs."""

import json
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from config.environment import Environment
from deploy.stack import settings as native_settings
from deploy.stack.credentials import Credentials
from deploy.stack.layout import Home
from deploy.stack.owner import current
from deploy.stack.ports import Ports
from deploy.stack.services import product
from deploy.stack.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
# Compose has its own stores and an EMQX cluster for Mosquitto; `prepare` is what `up` does itself.
NOT_OF_THE_PRODUCT = {"postgres", "redis", "elasticsearch", "emqx-1", "emqx-2", "prepare"}
# seed_demo reads it, and production has no demo.
NATIVE_ONLY = {"OHMWATCH_DEMO_PASSWORD"}
PER_SLOT = {"OHMWATCH_ACQUISITION_SLOT"}
SECRETS = (
    "OHMWATCH_SECRET_KEY",
    "OHMWATCH_POSTGRES_PASSWORD",
    "OHMWATCH_REDIS_PASSWORD",
    "OHMWATCH_ELASTICSEARCH_PASSWORD",
    "OHMWATCH_MQTT_PASSWORD",
    "OHMWATCH_BROKER_AUTH_TOKEN",
    "OHMWATCH_METRICS_TOKEN",
    "OHMWATCH_SMS_GATEWAY_TOKEN",
    "OHMWATCH_EMAIL_URL",
    "OHMWATCH_EMQX_COOKIE",
    "OHMWATCH_EMQX_DASHBOARD_PASSWORD",
)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


@pytest.fixture
def native(tmp_path: Path) -> Stack:
    stack = Stack(Home(tmp_path), current(), Ports.from_base(8000))
    Credentials(stack.home).generate()
    return stack


def variables() -> set[str]:
    return set(re.findall(r"\$\{([A-Z_]+)", FILE.read_text()))


def test_compose_reads_its_file(compose: dict[str, Any]) -> None:
    if shutil.which("docker") and _has_docker_compose():
        environment = {**os.environ, **dict.fromkeys(variables(), "x")}
        command = ["docker", "compose", "-f", str(FILE), "config", "--quiet"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    schema = json.loads(Path(__file__).with_name("compose.schema.json").read_text())
    jsonschema.Draft7Validator(schema).validate(compose)


def test_the_schema_refuses_a_misspelt_key(compose: dict[str, Any]) -> None:
    schema = json.loads(Path(__file__).with_name("compose.schema.json").read_text())
    broken = {**compose, "services": {"web": {**compose["services"]["web"], "helthcheck": {}}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(broken)


def test_every_variable_stops_the_start_when_it_is_missing() -> None:
    expressions = re.findall(r"(?<!\$)\$\{[^}]*\}", FILE.read_text())
    assert expressions
    assert [e for e in expressions if not re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", e)] == []


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_comes_from_the_environment(secret: str) -> None:
    assert secret in variables()


def test_every_service_is_watched_limited_and_restarted(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["deploy"]["resources"]["limits"]["memory"], name
        if name != "prepare":
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name


def test_only_mqtt_over_tls_leaves_the_host(compose: dict[str, Any]) -> None:
    published = {
        name: service["ports"]
        for name, service in compose["services"].items()
        if "ports" in service
    }
    assert published == {
        "emqx-1": ["8883:8883"],
        "emqx-2": ["8884:8883"],
        "web": ["127.0.0.1:8000:8000"],
    }


def test_both_run_the_same_services(compose: dict[str, Any], native: Stack) -> None:
    names = {service.name for service in product(native)}
    assert set(compose["services"]) - NOT_OF_THE_PRODUCT == names


def test_both_run_the_same_programs(compose: dict[str, Any], native: Stack) -> None:
    for service in product(native):
        theirs = compose["services"][service.name]["command"]
        assert _program(theirs) == _program(service.command), service.name


def test_both_set_every_setting(compose: dict[str, Any], native: Stack) -> None:
    fields = {f"OHMWATCH_{name.upper()}" for name in Environment.model_fields} - PER_SLOT
    natively = set(native_settings.product_environment(native)) - NATIVE_ONLY
    assert natively == fields
    for service in product(native):
        composed = set(compose["services"][service.name]["environment"])
        assert {name for name in composed if name.startswith("OHMWATCH_")} - PER_SLOT == fields


def test_each_slot_has_its_number(compose: dict[str, Any], native: Stack) -> None:
    slots = [service for service in product(native) if service.slot is not None]
    assert slots
    for service in slots:
        theirs = compose["services"][service.name]["environment"]["OHMWATCH_ACQUISITION_SLOT"]
        assert theirs == service.environment["OHMWATCH_ACQUISITION_SLOT"] == str(service.slot)


def test_the_versions_are_the_ones_the_project_names(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert images["emqx-1"] == images["emqx-2"] == "emqx/emqx:5.8.8"
    assert images["elasticsearch"].endswith(":8.19.21")
    assert images["postgres"].startswith("postgres:15")
    assert images["redis"].startswith("redis:7")


def _program(command: list[str]) -> list[str]:
    """What is run, without where Python lies, where it listens and where beat keeps its place."""
    own = {"--host", "--port", "-s"}
    return [word for before, word in pairwise(command) if before not in own]


def _has_docker_compose() -> bool:
    return subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
