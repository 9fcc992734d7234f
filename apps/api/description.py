"""The API's own description, OpenAPI 3.1: what drf-spectacular can't see by itself."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from apps.api.problems import MEDIA_TYPE

PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; show `request_id` to support.",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": ["string", "null"]},
        "errors": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
}
WHEN = {
    "400": "A parameter or the body can't be read, or asks for too much.",
    "401": "No session and no good key.",
    "403": "The key lacks the scope.",
    "404": "Not there, or not yours.",
    "429": "Too many requests; Retry-After says how long to wait.",
    "503": "The readings' store can't answer now; ask again.",
}


class KeyScheme(OpenApiAuthenticationExtension):
    """A key as a bearer."""

    target_class = "apps.api.authentication.KeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "ohm_live_…"}


def add_problems(
    result: dict[str, Any], generator: object, request: object, public: bool
) -> dict[str, Any]:
    """drf-spectacular's hook at the end: every operation can fail in the same shape."""
    result["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, operations in result["paths"].items():
        for operation in operations.values():
            for status in _possible(path, operation):
                operation["responses"][status] = {
                    "description": WHEN[status],
                    "content": content,
                }
    return result


def _possible(path: str, operation: dict[str, Any]) -> list[str]:
    possible = ["401", "403", "429"]
    asks = any(each["in"] == "query" for each in operation.get("parameters", ()))
    if asks or "requestBody" in operation:
        possible.append("400")
    if "{" in path:
        possible.append("404")
    if any(path.endswith(leaf) for leaf in ("/state", "/readings", "/series")):
        possible.append("503")
    return sorted(possible)
