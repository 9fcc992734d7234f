"""The OpenAPI document tells the truth: every route, every answer, every field."""

import json
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.urls import get_resolver
from jsonschema import Draft202012Validator, FormatChecker
from rest_framework.test import APIClient

from tests.integration.api.conftest import caller
from tests.integration.api.test_outsiders import OWN, at

UNDESCRIBED = {"openapi", "docs", "not-there"}
"""The document, the page that shows it, and the answer for all other paths."""


def test_the_document_is_served_and_is_3_1(kunlun: object, description: dict[str, Any]) -> None:
    served = caller().get("/api/v1/openapi.json")
    assert served.status_code == 200
    assert json.loads(served.content)["openapi"].startswith("3.1")
    assert set(json.loads(served.content)["paths"]) == set(description["paths"])


def test_the_document_lists_what_the_resolver_has(description: dict[str, Any]) -> None:
    routes = {
        "/api/v1/" + str(pattern.pattern).replace("<uuid:id>", "{id}")
        for pattern in get_resolver("apps.api.urls").url_patterns
        if pattern.name not in UNDESCRIBED  # type: ignore[union-attr]
    }
    assert routes == set(description["paths"])
    changing = {
        (path, method)
        for path, methods in description["paths"].items()
        for method in methods
        if method != "get"
    }
    assert changing == {("/api/v1/alarms/{id}/inspections", "post")}


@pytest.mark.usefixtures("world")
def test_every_operation_answers_as_described(
    bens_browser: APIClient, annas_browser: APIClient, description: dict[str, Any]
) -> None:
    for client in (bens_browser, annas_browser):
        for path, operations in description["paths"].items():
            response = client.get(at(path, OWN) if "{id}" in path else path)
            assert response.status_code == 200, path
            schema = operations["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            check(response.json(), schema, description)


def check(answer: object, schema: dict[str, Any], description: dict[str, Any]) -> None:
    whole = {**schema, "components": description["components"]}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(answer)


@pytest.mark.usefixtures("world")
def test_every_problem_is_one(bens_key: APIClient, description: dict[str, Any]) -> None:
    problem = {"$ref": "#/components/schemas/Problem"}
    for response in (
        caller().get("/api/v1/me"),
        bens_key.get("/api/v1/nothing"),
        bens_key.get("/api/v1/connectors", {"state": "molten"}),
        bens_key.post("/api/v1/vehicles", {}),
        bens_key.options("/api/v1/vehicles"),
        bens_key.get("/api/v1/me", HTTP_ACCEPT="text/csv"),
    ):
        assert response["Content-Type"] == "application/problem+json"
        check(response.json(), problem, description)
        assert response.json()["status"] == response.status_code
        assert response.json()["type"] == f"urn:ohmwatch:problem:{response.json()['code']}"


@pytest.mark.usefixtures("world")
def test_fields_are_those_that_were_decided(bens_key: APIClient) -> None:
    """A field more would be something told that nobody decided to tell."""
    [vehicle] = bens_key.get("/api/v1/vehicles").json()["results"]
    assert set(vehicle) == {"id", "vin", "plate", "label", "organisation", "created_at"}
    [alarm] = bens_key.get("/api/v1/alarms").json()["results"]
    assert set(alarm) == {
        *("id", "connector", "vehicle", "condition", "pole", "severity", "state", "since"),
        *("last_measured_at", "opened_at", "acknowledged_at", "cleared_at"),
        *("time_left_s", "occurrences", "evidence"),
        *("detector", "detector_version", "rule", "rule_version"),
    }
    connector = bens_key.get("/api/v1/connectors").json()["results"][0]
    assert set(connector) == {
        *("id", "serial", "batch", "model", "vehicle", "position", "installed_at", "state"),
    }


def test_the_page_runs_from_our_own_files(kunlun: object) -> None:
    page = caller().get("/api/v1/docs")
    assert page.status_code == 200
    text = page.content.decode()
    assert "://" not in text
    assert "<style" not in text
    assert "<script>" not in text
    for name in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert finders.find(f"drf_spectacular_sidecar/swagger-ui-dist/{name}")
    assert finders.find("api/documentation.js")
