"""The only place that names websocket groups: `t.<schema>.<kind>.<id>`.

Made from the tenant and the person that the server knows, never from what a client sends.
"""

import re
from uuid import UUID

_NAME = re.compile(r"^t\.[a-z][a-z0-9_]{0,40}\.[a-z]+\.[a-z0-9-]{1,40}$")


def staff(schema: str) -> str:
    """Alarms of the whole tenant, for its own staff."""
    return _group(schema, "alarms", "staff")


def organisation(schema: str, organisation_id: UUID) -> str:
    """Alarms of one organisation's vehicles."""
    return _group(schema, "alarms", str(organisation_id))


def _group(schema: str, kind: str, key: str) -> str:
    name = f"t.{schema}.{kind}.{key}"
    if not _NAME.match(name) or len(name) >= 100:
        raise ValueError(f"no group can have this name: {name!r}")
    return name
