"""What workers know of all tenants' devices and connectors, in memory.

Acquisition asks it for each message, so it answers without a store. Where a tenant's counter in
Redis has moved, it reads again what has changed, within 2 s however large the tenant is; and
everything once a minute, with looks for changes in between. While Postgres is away it goes on with
what it knows; where one tenant can't be read (a table lacks a column, its schema is being dropped)
that one stays as it was, and the others go on.

There may be hundreds of thousands of entries, so what several have in common is one object, what
is read again and found the same stays the object that it was, and none of them is the cyclic
collector's business. docs/operations.md says what they weigh, `bench directory` measures it.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from django_tenants.utils import schema_context
from msgspec import Struct

from apps.catalog.models import ConnectorModel
from apps.devices.models import Channel, Device, DeviceState
from apps.fleet.models import Connector, ConnectorState
from apps.telemetry.slices import Retention
from apps.tenants.changes import Rows, read_changes, read_counters
from apps.tenants.identifiers import schema_name_of
from apps.tenants.models import Tenant
from apps.tenants.queries import ready_tenants
from ohmwatch.detector import Ratings

logger = structlog.get_logger(__name__)

LOOK_INTERVAL_S = 0.5
RELOAD_INTERVAL_S = 60.0
UNREAD_RETRY_S = 5.0
"""A tenant that couldn't be read is tried again after so long, or when it changes."""
FIRST_PATIENCE_S = 60.0
"""For so long nothing is known, rather than one tenant not: its migration may be under way."""
ROWS_AT_ONCE = 1_000
"""Devices, or connectors without one, that are read at once; then is a look for changes."""
ROWS_LIMIT = 5_000
"""Changed rows beyond which reading all of a tenant takes hardly longer."""
CARRIERS_AT_ONCE = 1_000
"""Of so many vehicles the connectors share one: those of a vehicle come after one another, nearly
always."""
_NAN = float("nan")

Entry = TypeVar("Entry")
Row = TypeVar("Row", Connector, Device)


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
    """All of one tenant. With each change it is another object, whose mappings may be the same:
    entries are replaced in them, but none comes or goes while somebody walks through them."""

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
        self._unread: dict[str, float] = {}
        """Tenants that couldn't be read, each with the moment of the next try."""
        self._looked_at = self._loaded_at = float("-inf")
        self._first_tried_at: float | None = None
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

    def lacks_tenant(self, slug: str) -> bool:
        """Whether there is no such ready tenant; False until Postgres was read."""
        return self.is_loaded and slug not in self._tenants

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
        """Read everything now. A tenant that can't be read stays as it is known, without devices if
        it never was. Raises Django's DatabaseError or InterfaceError where Postgres is away; and at
        first where no tenant can be read, or one can't be that may be soon."""
        with self._lock:
            counters = self._read_counters() or {}
            for tenant in (ready := ready_tenants()):
                with self._sparing_others(tenant):
                    self._read_whole(tenant, counters.get(tenant.slug, 0))
            self._keep_only({tenant.slug for tenant in ready})
            self._be_patient_at_first()
            self._loaded_at = self._looked_at = self._monotonic()

    def _be_patient_at_first(self) -> None:
        if self._first_tried_at is None:
            self._first_tried_at = self._monotonic()
        if self.is_loaded or not self._unread:
            return
        waited_s = self._monotonic() - self._first_tried_at
        if waited_s < FIRST_PATIENCE_S or self._unread.keys() == self._tenants.keys():
            raise DatabaseError(f"not to be read: {', '.join(sorted(self._unread))}")

    def load_only(self, tenant: Tenant) -> None:
        """Read this tenant now, and know no other. Raises DatabaseError or InterfaceError."""
        with self._lock:
            self._read_whole(tenant, (self._read_counters() or {}).get(tenant.slug, 0))
            self._keep_only({tenant.slug})
            self._loaded_at = self._looked_at = self._monotonic()

    def refresh_if_changed(self) -> bool:
        """Read again what has changed; True if something was read. Call it as often as you like.

        It looks at Redis twice a second at most. Where Redis or Postgres is away, or doesn't have
        what is asked for, the old stays.
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
        except (DatabaseError, InterfaceError) as error:
            logger.warning("directory_is_old", age_s=round(self.age_s(), 1), error=str(error))
            connection.close()
            return False

    def _read_changed(self) -> bool:
        counters, again = self._read_counters(), self._due_again()
        if counters is None or (counters == self._counters and not again):
            return False
        with self._lock:
            changed = {slug for slug in counters if counters[slug] != self._counters.get(slug)}
            changed |= again
            ready = {tenant.slug: tenant for tenant in ready_tenants()}
            for slug in changed & ready.keys():
                with self._sparing_others(ready[slug]):
                    self._learn(ready[slug], counters.get(slug, 0))
            self._keep_only(set(ready))  # of who was erased, the counter is gone as well
            self._counters = counters
        return True

    def _due_again(self) -> set[str]:
        now = self._monotonic()
        return {slug for slug, retry_at in self._unread.items() if retry_at <= now}

    def _learn(self, tenant: Tenant, counter: int) -> None:
        """What has changed of a tenant; all of it where that can't be told, or was missed."""
        if tenant.slug in self._unread or not self._read_rows(tenant.slug, counter):
            self._read_whole(tenant, counter)

    @contextmanager
    def _sparing_others(self, tenant: Tenant | TenantEntry) -> Iterator[None]:
        """A tenant that can't be read must not keep the others from being read. Where the server is
        away, that is the matter of all, and goes through."""
        try:
            yield
        except OperationalError:
            raise
        except DatabaseError as error:
            logger.error("directory_tenant_unread", tenant=tenant.slug, error=str(error))
            self._unread[tenant.slug] = self._monotonic() + UNREAD_RETRY_S
            if tenant.slug not in self._tenants:
                # So that what it sends waits in its own quarantine and not in the platform's.
                self._put(TenantEntry(tenant.slug, tenant.schema_name, tenant.retention), 0)

    def _read_whole(self, tenant: Tenant, counter: int) -> None:
        """All of a tenant; `counter` is of before. Its changes, and others', are learned between
        the pages, so those that came too late for its page are read once more at the end."""
        slug = tenant.slug
        entry = _read_tenant(tenant, self._tenants.get(slug), self._learn_meanwhile)
        learned = self._counters.get(slug, 0)
        if learned > counter:
            rows = self._rows_since(slug, counter, learned)
            entry, counter = (
                (entry, counter) if rows is None else (_with_rows(entry, rows), learned)
            )
        self._put(entry, counter)
        self._unread.pop(slug, None)

    def _learn_meanwhile(self) -> None:
        if self._monotonic() - self._looked_at < LOOK_INTERVAL_S:
            return
        self._looked_at = self._monotonic()
        counters = self._read_counters() or {}
        for slug, counter in counters.items():
            known = self._tenants.get(slug)
            if known and counter != self._counters.get(slug) and slug not in self._unread:
                with self._sparing_others(known):
                    self._read_rows(slug, counter)

    def _read_rows(self, slug: str, counter: int) -> bool:
        """What has changed of a tenant up to this counter; False where that can't be told."""
        known = self._tenants.get(slug)
        if known is None:
            return False
        rows = self._rows_since(slug, self._counters.get(slug, 0), counter)
        if rows is None:
            return False
        self._put(_with_rows(known, rows), counter)
        return True

    def _rows_since(self, slug: str, after: int, upto: int) -> Rows | None:
        try:
            rows = read_changes(self._redis, slug, after=after, upto=upto)
        except redis.RedisError as error:
            logger.warning("directory_changes_unread", error=str(error))
            return None
        return rows if rows is not None and len(rows) <= ROWS_LIMIT else None

    def _put(self, entry: TenantEntry, counter: int) -> None:
        self._tenants = self._tenants | {entry.slug: entry}
        self._counters = self._counters | {entry.slug: counter}

    def _keep_only(self, slugs: set[str]) -> None:
        self._tenants = {s: tenant for s, tenant in self._tenants.items() if s in slugs}
        self._counters = {s: counter for s, counter in self._counters.items() if s in slugs}
        self._unread = {s: retry_at for s, retry_at in self._unread.items() if s in slugs}

    def _read_counters(self) -> dict[str, int] | None:
        try:
            return read_counters(self._redis)
        except redis.RedisError as error:
            logger.warning("directory_counters_unread", error=str(error))
            return None


def _read_tenant(
    tenant: Tenant, known: TenantEntry | None, after_page: Callable[[], None]
) -> TenantEntry:
    """All of a tenant, with its schema set; what `known` holds and has not changed is used again.

    Connectors without a device come first: one that is given a device in between is met twice.
    """
    empty = TenantEntry(tenant.slug, tenant.schema_name, tenant.retention)
    with schema_context(tenant.schema_name):
        reader = _Reader(empty, known or empty)
        reader.models.read_all()
        for unmapped in _pages(Connector.objects.filter(channel__isnull=True)):
            reader.take_connectors(unmapped)
            after_page()
        for devices in _pages(Device.objects.all()):
            reader.take_devices(devices)
            after_page()
    return replace(
        empty, devices=reader.devices, connectors=reader.connectors, models=reader.models
    )


def _with_rows(known: TenantEntry, rows: Rows) -> TenantEntry:
    """A tenant with these rows read again, and every device that their changes are seen in."""
    if not len(rows):
        return replace(known)
    changed = Q(pk__in=rows.connectors) | Q(vehicle__in=rows.vehicles)
    seen_in = Q(connector__in=rows.connectors) | Q(connector__vehicle__in=rows.vehicles)
    with schema_context(known.schema_name):
        reader = _Reader(known, known)
        reader.take_connectors(Connector.objects.filter(changed))
        devices = Channel.objects.filter(seen_in).values_list("device_id", flat=True)
        reader.take_devices(Device.objects.filter(pk__in={*rows.devices, *map(str, devices)}))
    return replace(
        known,
        devices=_with(known.devices, reader.devices),
        connectors=_with(known.connectors, reader.connectors),
        models=reader.models,
    )


def _with(known: dict[str, Entry], read: dict[str, Entry]) -> dict[str, Entry]:
    """Where all of them are known, in their places: a copy of a large fleet takes memory."""
    if not read.keys() <= known.keys():
        return known | read
    known.update(read)
    return known


def _pages(rows: QuerySet[Row]) -> Iterator[QuerySet[Row]]:
    """Rows in stretches of their keys, so that others can be asked for in between."""
    rows, last = rows.order_by("pk"), None
    while True:
        left = rows if last is None else rows.filter(pk__gt=last)
        end = list(left.values_list("pk", flat=True)[ROWS_AT_ONCE - 1 : ROWS_AT_ONCE])
        if not end:
            yield left
            return
        yield left.filter(pk__lte=end[0])
        last = end[0]


class _Reader:
    """Makes entries of rows as they come, so that no more than some thousand rows lie here."""

    def __init__(self, tenant: TenantEntry, known: TenantEntry) -> None:
        self._tenant, self._retention = sys.intern(tenant.slug), tenant.retention
        self._known = known
        self._carriers: dict[str, Carrier] = {}
        self.models = _Models(known.models)
        self.devices: dict[str, DeviceEntry] = {}
        self.connectors: dict[str, ConnectorEntry] = {}

    def take_connectors(self, found: QuerySet[Connector]) -> None:
        """Connectors without regard to who measures them."""
        for row in found.order_by().values_list(*_connector_columns("")):
            self._take_connector(row)

    def take_devices(self, found: QuerySet[Device]) -> None:
        """Devices with all that they measure, one row for each channel."""
        columns = _connector_columns("channels__connector__")
        rows = found.order_by("pk", "channels__number").values_list(
            "identifier", "state", "codec", "channels__number", *columns
        )
        for device, its_rows in groupby(rows, key=itemgetter(0, 1, 2)):
            self._take_device(device, its_rows)

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
        super().__init__(known)
        self._known = known

    def read_all(self) -> None:
        """As they are now."""
        self.clear()
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
