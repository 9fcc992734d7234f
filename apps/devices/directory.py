"""What workers know of all tenants' devices and connectors, in memory.

Acquisition asks it for each message, so it answers without a store. It reads Postgres again where
a tenant's counter in Redis has moved (within 2 s) and everything once a minute; while Postgres is
away it goes on with what it knows.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import redis
import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django_tenants.utils import schema_context

from apps.catalog.models import ConnectorModel
from apps.devices.models import Channel, Device, DeviceState
from apps.fleet.models import Connector, ConnectorState
from apps.telemetry.slices import Retention
from apps.tenants.changes import read_counters
from apps.tenants.identifiers import schema_name_of
from apps.tenants.models import Tenant
from apps.tenants.queries import ready_tenants
from ohmwatch.detector import Ratings

logger = structlog.get_logger(__name__)

LOOK_INTERVAL_S = 0.5
RELOAD_INTERVAL_S = 60.0
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class ConnectorEntry:
    """A connector as workers see it.

    `dimensions` is what telemetry is sliced by: model (its code), batch, organisation and vehicle
    (their ids), position; an empty one is left out.
    """

    id: str
    in_service: bool
    dimensions: dict[str, str]
    model_id: str
    ratings: Ratings


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device and what each of its channels measures."""

    tenant: str
    retention: Retention
    identifier: str
    device_id: str
    enabled: bool
    codec: str
    channels: dict[int, ConnectorEntry]


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """All of one tenant, replaced as a whole when it is read again."""

    slug: str
    schema_name: str
    retention: Retention
    devices: dict[str, DeviceEntry] = field(default_factory=dict)
    connectors: dict[str, ConnectorEntry] = field(default_factory=dict)


class Directory:
    """Every ready tenant's devices and connectors. One a process; safe to ask from any thread."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._redis = redis.Redis.from_url(
            settings.REDIS_LOG_URL, socket_timeout=1, socket_connect_timeout=1
        )
        self._tenants: dict[str, TenantEntry] = {}
        self._counters: dict[str, int] = {}
        self._looked_at = self._loaded_at = float("-inf")
        self._lock = threading.Lock()

    # --- asking -------------------------------------------------------------------------------

    @property
    def is_loaded(self) -> bool:
        """False until Postgres was read for the first time: nothing is known, so ask nothing."""
        return self._loaded_at > float("-inf")

    def age_s(self) -> float:
        """Seconds since Postgres was last read as a whole; infinite before the first time."""
        return self._monotonic() - self._loaded_at

    def knows_tenant(self, slug: str) -> bool:
        """Whether this is a ready tenant."""
        return slug in self._tenants

    def tenant(self, slug: str) -> TenantEntry | None:
        """A ready tenant with its retention and all that it has."""
        return self._tenants.get(slug)

    def tenants(self) -> list[TenantEntry]:
        """All ready tenants."""
        return list(self._tenants.values())

    def entry(self, identity: str) -> DeviceEntry | None:
        """The device behind `<tenant>.<device>`, enabled or not; None where there is none."""
        slug, _dot, identifier = identity.partition(".")
        tenant = self._tenants.get(slug)
        return tenant.devices.get(identifier) if tenant else None

    def connector(self, slug: str, connector_id: str) -> ConnectorEntry | None:
        """A connector of a tenant with its dimensions and ratings, in service or not."""
        tenant = self._tenants.get(slug)
        return tenant.connectors.get(connector_id) if tenant else None

    def ratings_of(self, slug: str, connector_id: str) -> Ratings | None:
        """What a connector's model is rated for; None where it is unknown or retired."""
        found = self.connector(slug, connector_id)
        return found.ratings if found and found.in_service else None

    def connectors(self) -> Iterator[tuple[str, str]]:
        """(tenant, connector) of all that are in service."""
        for tenant in self.tenants():
            for connector in tenant.connectors.values():
                if connector.in_service:
                    yield tenant.slug, connector.id

    def schema_of(self, slug: str) -> str:
        """The Postgres schema of a tenant. Raises ValueError for what is no slug."""
        return schema_name_of(slug)

    # --- keeping up ---------------------------------------------------------------------------

    def load(self) -> None:
        """Read everything now. Raises Django's OperationalError or InterfaceError."""
        with self._lock:
            counters = self._read_counters()
            self._tenants = {tenant.slug: _read_tenant(tenant) for tenant in ready_tenants()}
            self._counters = counters if counters is not None else {}
            self._loaded_at = self._looked_at = self._monotonic()

    def load_only(self, tenant: Tenant) -> None:
        """Read this tenant now, and know no other. Raises as `load`."""
        with self._lock:
            self._tenants = {tenant.slug: _read_tenant(tenant)}
            self._loaded_at = self._looked_at = self._monotonic()

    def refresh_if_changed(self) -> bool:
        """Read again what has changed; True if something was read. Call it as often as you like.

        It looks at Redis twice a second at most. Where Redis or Postgres is away, the old stays.
        """
        now = self._monotonic()
        if now - self._looked_at < LOOK_INTERVAL_S:
            return False
        self._looked_at = now
        try:
            if now - self._loaded_at >= RELOAD_INTERVAL_S:
                self.load()
                return True
            return self._read_changed()
        except (OperationalError, InterfaceError) as error:
            logger.warning("directory_is_old", age_s=round(self.age_s()), error=str(error))
            connection.close()
            return False

    def _read_changed(self) -> bool:
        counters = self._read_counters()
        if counters is None or counters == self._counters:
            return False
        with self._lock:
            changed = {slug for slug in counters if counters[slug] != self._counters.get(slug)}
            read = {t.slug: _read_tenant(t) for t in ready_tenants() if t.slug in changed}
            kept = {slug: tenant for slug, tenant in self._tenants.items() if slug not in changed}
            self._tenants = kept | read
            self._counters = counters
        return True

    def _read_counters(self) -> dict[str, int] | None:
        try:
            return read_counters(self._redis)
        except redis.RedisError as error:
            logger.warning("directory_counters_unread", error=str(error))
            return None


def _read_tenant(tenant: Tenant) -> TenantEntry:
    """All of a tenant in four queries, with its schema set.

    What refers is read before what it refers to, so that a row made in between is not missed.
    """
    with schema_context(tenant.schema_name):
        devices = list(Device.objects.all())
        channels = list(Channel.objects.all())
        rows = list(Connector.objects.select_related("vehicle"))
        models = {model.pk: model for model in ConnectorModel.objects.all()}
    connectors = {row.pk: _connector_entry(row, models[row.model_id]) for row in rows}
    mapped: dict[object, dict[int, ConnectorEntry]] = defaultdict(dict)
    for channel in channels:
        mapped[channel.device_id][channel.number] = connectors[channel.connector_id]
    return TenantEntry(
        slug=tenant.slug,
        schema_name=tenant.schema_name,
        retention=tenant.retention,
        devices={
            device.identifier: _device_entry(tenant, device, mapped[device.pk])
            for device in devices
        },
        connectors={connector.id: connector for connector in connectors.values()},
    )


def _device_entry(
    tenant: Tenant, device: Device, channels: dict[int, ConnectorEntry]
) -> DeviceEntry:
    return DeviceEntry(
        tenant=tenant.slug,
        retention=tenant.retention,
        identifier=device.identifier,
        device_id=str(device.pk),
        enabled=device.state == DeviceState.ENABLED,
        codec=device.codec,
        channels=channels,
    )


def _connector_entry(connector: Connector, model: ConnectorModel) -> ConnectorEntry:
    vehicle = connector.vehicle
    dimensions = {
        "model": model.code,
        "batch": connector.batch,
        "organisation": str(vehicle.organisation_id) if vehicle else "",
        "vehicle": str(vehicle.pk) if vehicle else "",
        "position": connector.position,
    }
    return ConnectorEntry(
        id=str(connector.pk),
        in_service=connector.state == ConnectorState.IN_SERVICE,
        dimensions={name: value for name, value in dimensions.items() if value},
        model_id=str(model.pk),
        ratings=ratings_of_model(model),
    )


def ratings_of_model(model: ConnectorModel) -> Ratings:
    """A row of the catalogue as detectors read it: what is missing is NaN or empty."""
    return Ratings(
        model=model.code,
        position=model.position,
        rated_current_a=model.rated_current_a,
        rated_voltage_v=model.rated_voltage_v,
        temperature_limit_c=model.temperature_limit_c,
        derating=tuple((float(ambient_c), float(a)) for ambient_c, a in model.derating),
        temperature_rise_rated_k=_or_nan(model.temperature_rise_rated_k),
        temperature_rise_limit_k=_or_nan(model.temperature_rise_limit_k),
        contact_resistance_new_uohm=_or_nan(model.contact_resistance_new_uohm),
        contact_resistance_end_uohm=_or_nan(model.contact_resistance_end_uohm),
        thermal_resistance_k_per_w=_or_nan(model.thermal_resistance_k_per_w),
        thermal_time_constants_s=tuple(float(tau) for tau in model.thermal_time_constants_s),
        insulation_minimum_kohm=_or_nan(model.insulation_minimum_kohm),
        rated_mating_cycles=_or_nan(model.rated_mating_cycles),
        reports=tuple(model.reports),
        interval_s=_or_nan(model.interval_s),
    )


def _or_nan(rating: float | None) -> float:
    return _NAN if rating is None else float(rating)
