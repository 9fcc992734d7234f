"""What workers know of all tenants' devices and connectors, in memory.

Acquisition asks it for each message, so it answers without a store. It reads Postgres again where
a tenant's counter in Redis has moved (within 2 s) and everything once a minute; while Postgres is
away it goes on with what it knows.

There may be hundreds of thousands of entries, so what several have in common is one object, what
is read again and found the same stays the object that it was, and none of them is the cyclic
collector's business. docs/operations.md says what they weigh, `bench directory` measures it.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import redis
import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models import TextField
from django.db.models.functions import Cast
from django_tenants.utils import schema_context
from msgspec import Struct

from apps.catalog.models import ConnectorModel
from apps.devices.models import Device, DeviceState
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
ROWS_AT_ONCE = 2_000
CARRIERS_AT_ONCE = 1_000
"""Of so many vehicles the connectors share one: those of a vehicle come after one another, nearly
always."""
_NAN = float("nan")

Entry = TypeVar("Entry")


class ModelEntry(Struct, frozen=True, gc=False):
    """A row of the catalogue, shared by all connectors of the model. `code` is what telemetry is
    sliced by."""

    code: str
    ratings: Ratings


class Carrier(Struct, frozen=True, gc=False):
    """A vehicle and whose it is, by their ids; shared by all that is installed in it."""

    vehicle: str
    organisation: str


class ConnectorEntry(Struct, frozen=True, gc=False):
    """A connector as workers see it."""

    id: str
    in_service: bool
    model: ModelEntry
    batch: str
    position: str
    carrier: Carrier | None

    @property
    def dimensions(self) -> dict[str, str]:
        """What telemetry is sliced by; what is not known is left out."""
        carrier = self.carrier
        dimensions = {
            "model": self.model.code,
            "batch": self.batch,
            "organisation": carrier.organisation if carrier else "",
            "vehicle": carrier.vehicle if carrier else "",
            "position": self.position,
        }
        return {name: value for name, value in dimensions.items() if value}

    @property
    def ratings(self) -> Ratings:
        """Its model's."""
        return self.model.ratings


class DeviceEntry(Struct, frozen=True, gc=False):
    """A device and what each of its channels measures: `channels[n]` is channel n's connector."""

    tenant: str
    retention: Retention
    identifier: str
    enabled: bool
    codec: str
    channels: tuple[ConnectorEntry | None, ...] = ()

    def connector_on(self, channel: int) -> ConnectorEntry | None:
        """What a channel (0 or above) measures; None where nothing is mapped."""
        return self.channels[channel] if channel < len(self.channels) else None


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """All of one tenant, replaced as a whole when it is read again."""

    slug: str
    schema_name: str
    retention: Retention
    devices: dict[str, DeviceEntry] = field(default_factory=dict)
    connectors: dict[str, ConnectorEntry] = field(default_factory=dict)
    models: Mapping[str, ModelEntry] = field(default_factory=dict)


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
            self._read(ready := ready_tenants())
            self._keep_only({tenant.slug for tenant in ready})
            self._counters = counters if counters is not None else {}
            self._loaded_at = self._looked_at = self._monotonic()

    def load_only(self, tenant: Tenant) -> None:
        """Read this tenant now, and know no other. Raises as `load`."""
        with self._lock:
            self._read([tenant])
            self._keep_only({tenant.slug})
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
            ready = {tenant.slug: tenant for tenant in ready_tenants()}
            self._read([tenant for slug, tenant in ready.items() if slug in changed])
            self._keep_only(set(self._tenants) - changed | set(ready))
            self._counters = counters
        return True

    def _read(self, tenants: Iterable[Tenant]) -> None:
        """One after the other, so that no more than one of them is here twice."""
        for tenant in tenants:
            entry = _read_tenant(tenant, self._tenants.get(tenant.slug))
            self._tenants = self._tenants | {tenant.slug: entry}

    def _keep_only(self, slugs: set[str]) -> None:
        self._tenants = {s: tenant for s, tenant in self._tenants.items() if s in slugs}

    def _read_counters(self) -> dict[str, int] | None:
        try:
            return read_counters(self._redis)
        except redis.RedisError as error:
            logger.warning("directory_counters_unread", error=str(error))
            return None


def _read_tenant(tenant: Tenant, known: TenantEntry | None) -> TenantEntry:
    """All of a tenant, with its schema set; what `known` holds and has not changed is used again.

    Connectors without a device come first: one that is given a device in between is met twice.
    """
    with schema_context(tenant.schema_name):
        reader = _Reader(tenant, known)
        reader.read_unmapped()
        reader.read_devices()
    return TenantEntry(
        slug=tenant.slug,
        schema_name=tenant.schema_name,
        retention=tenant.retention,
        devices=reader.devices,
        connectors=reader.connectors,
        models=reader.models,
    )


class _Reader:
    """Makes entries of rows as they come, so that no more than some thousand rows lie here."""

    def __init__(self, tenant: Tenant, known: TenantEntry | None) -> None:
        self._tenant, self._retention = sys.intern(tenant.slug), tenant.retention
        self._known = known or TenantEntry(tenant.slug, tenant.schema_name, self._retention)
        self._carriers: dict[str, Carrier] = {}
        self.models = _Models(self._known.models)
        self.devices: dict[str, DeviceEntry] = {}
        self.connectors: dict[str, ConnectorEntry] = {}

    def read_unmapped(self) -> None:
        """Connectors that no channel measures."""
        found = Connector.objects.filter(channel__isnull=True).order_by()
        for row in found.values_list(*_connector_columns("")).iterator(ROWS_AT_ONCE):
            self._take_connector(row)

    def read_devices(self) -> None:
        """Devices with all that they measure, one row for each channel."""
        columns = _connector_columns("channels__connector__")
        found = Device.objects.order_by("pk", "channels__number").values_list(
            "identifier", "state", "codec", "channels__number", *columns
        )
        for device, rows in groupby(found.iterator(ROWS_AT_ONCE), key=itemgetter(0, 1, 2)):
            self._take_device(device, rows)

    def _take_device(self, device: tuple[str, str, str], rows: Iterable[Sequence[Any]]) -> None:
        identifier, state, codec = device
        channels: list[ConnectorEntry | None] = []
        for row in rows:
            number = row[3]
            if number is not None:  # else the device has no channels
                channels += [None] * (number - len(channels))
                channels.append(self._take_connector(row[4:]))
        entry = DeviceEntry(
            tenant=self._tenant,
            retention=self._retention,
            identifier=identifier,
            enabled=state == DeviceState.ENABLED,
            codec=sys.intern(codec),
            channels=tuple(channels),
        )
        entry = _kept(self._known.devices, identifier, entry)
        self.devices[entry.identifier] = entry

    def _take_connector(self, row: Sequence[Any]) -> ConnectorEntry:
        key, state, batch, position, model, vehicle, organisation = row
        entry = ConnectorEntry(
            id=key,
            in_service=state == ConnectorState.IN_SERVICE,
            model=self.models[model],
            batch=sys.intern(batch),
            position=sys.intern(position),
            carrier=self._carrier(vehicle, organisation),
        )
        entry = _kept(self._known.connectors, key, entry)
        self.connectors[entry.id] = entry
        return entry

    def _carrier(self, vehicle: str | None, organisation: str) -> Carrier | None:
        if vehicle is None:
            return None
        carrier = self._carriers.get(vehicle)
        if carrier is None:
            if len(self._carriers) >= CARRIERS_AT_ONCE:
                self._carriers.clear()
            carrier = self._carriers[vehicle] = Carrier(vehicle, sys.intern(organisation))
        return carrier


def _connector_columns(path: str) -> list[str | Cast]:
    """What `_take_connector` takes, of the connector there; ids as text, as entries hold them."""
    return [
        Cast(f"{path}id", TextField()),
        f"{path}state",
        f"{path}batch",
        f"{path}position",
        Cast(f"{path}model_id", TextField()),
        Cast(f"{path}vehicle_id", TextField()),
        Cast(f"{path}vehicle__organisation_id", TextField()),
    ]


class _Models(dict[str, ModelEntry]):
    """A tenant's models by id; one that came after they were read is read when it is asked for."""

    def __init__(self, known: Mapping[str, ModelEntry]) -> None:
        super().__init__()
        self._known = known
        for row in ConnectorModel.objects.all():
            self._take(row)

    def __missing__(self, key: str) -> ModelEntry:
        return self._take(ConnectorModel.objects.get(pk=key))

    def _take(self, row: ConnectorModel) -> ModelEntry:
        key, entry = str(row.pk), ModelEntry(row.code, ratings_of_model(row))
        self[key] = _kept(self._known, key, entry)
        return self[key]


def _kept(known: Mapping[str, Entry], key: str, entry: Entry) -> Entry:
    """The object that stands for the same already, if there is one."""
    found = known.get(key)
    return found if found is not None and found == entry else entry


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
