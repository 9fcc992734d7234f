"""A message as channels get it, for tests of channels."""

from datetime import UTC, datetime
from typing import Any

from apps.notifications.channel import Item, Message, Recipient

URL = "http://kunlun.localhost:8000/alarms/01900000-0000-7000-8000-000000000099/"


def item(**changes: Any) -> Item:
    fields: dict[str, Any] = {
        "number": 7,
        "kind": "opened",
        "severity": "critical",
        "condition": "contact_loose",
        "pole": "pos",
        "vehicle": "Taxi 1",
        "plate": "HH-BT 1",
        "connector": "SN-0001",
        "position": "traction",
        "since": datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
        "measured_at": datetime(2026, 11, 23, 12, 3, tzinfo=UTC),
        "judged_at": datetime(2026, 11, 23, 12, 3, 2, tzinfo=UTC),
        "occurrences": 1,
        "evidence": {"temperature_pos_c": 131.04, "limit_c": 125.0, "rise_k": None},
        "time_left_s": 5400.0,
        "url": URL,
    }
    return Item(**{**fields, **changes})


def message(*items: Item, total: int | None = None, **recipient: Any) -> Message:
    listed = items or (item(),)
    who: dict[str, Any] = {
        "name": "Ben",
        "address": "ben@harbour.example",
        "language": "en",
        "timezone": "Asia/Shanghai",
    }
    return Message(
        key="01900000-0000-7000-8000-0000000000aa",
        tenant="Kunlun Connectors",
        recipient=Recipient(**{**who, **recipient}),
        items=listed,
        total=total or len(listed),
        url="http://kunlun.localhost:8000/alarms/",
    )
