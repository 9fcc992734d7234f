"""Refused messages as a file: a JSON object a line, with the bytes as base64."""

import base64
from collections.abc import Iterator
from typing import Any

import orjson
from django.http import HttpResponse

from apps.telemetry.answers import QuarantinedMessage
from apps.telemetry.errors import TelemetryError
from apps.telemetry.quarantine import TenantQuarantine
from apps.telemetry.questions import RefusedFilter

FILE_BYTES = 32 * 1024 * 1024
"""A download ends after this much; its last line says where the next one begins."""


def download_of(quarantine: TenantQuarantine, filters: RefusedFilter, after: str) -> HttpResponse:
    """All that fit, from behind `after` on; 503 with the error's code where the store is away."""
    try:
        lines = b"".join(_lines(quarantine.messages(filters, after=after)))
    except TelemetryError as error:
        return HttpResponse(error.code + "\n", status=503, content_type="text/plain")
    return HttpResponse(
        lines,
        content_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="quarantine.ndjson"'},
    )


def _lines(found: Iterator[QuarantinedMessage]) -> Iterator[bytes]:
    written = 0
    for message in found:
        line = orjson.dumps(_as_fields(message)) + b"\n"
        written += len(line)
        yield line
        if written > FILE_BYTES:
            yield orjson.dumps({"continued": True, "after": message.position}) + b"\n"
            return


def _as_fields(message: QuarantinedMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "arrived": message.arrived_at.isoformat().replace("+00:00", "Z"),
        "reason": message.reason,
        "field": message.field,
        "detail": message.detail,
        "identity": message.identity,
        "topic": message.topic,
        "content_type": message.content_type,
        "readings": message.count,
        "rows": message.rows,
        "messages": message.messages,
        "dropped_bytes": message.dropped_bytes,
        "replay": message.replay_state,
        "payload_base64": base64.b64encode(message.payload).decode(),
    }
