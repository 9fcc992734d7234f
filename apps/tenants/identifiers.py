"""Primary keys and the names that are derived from a tenant's slug."""

import re
import uuid

from uuid_utils import compat

SLUG_PATTERN = r"^[a-z][a-z0-9-]{0,29}[a-z0-9]$"
"""Also a DNS label and the first part of every MQTT identity, so it can't end with a hyphen."""

RESERVED_SLUGS = frozenset(
    {"www", "api", "admin", "platform", "public", "static", "media", "mail", "mqtt", "ohmwatch"}
)


def new_id() -> uuid.UUID:
    """A UUID of version 7: random enough that no two tenants share one, ordered by time."""
    return compat.uuid7()


def schema_name_of(slug: str) -> str:
    """The Postgres schema of the tenant with this slug. Raises ValueError for a bad slug."""
    if not re.match(SLUG_PATTERN, slug):
        raise ValueError(f"not a tenant's slug: {slug!r}")
    return "t_" + slug.replace("-", "_")
