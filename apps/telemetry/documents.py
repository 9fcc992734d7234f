"""What Elasticsearch holds: the shape of each kind of document, and the templates made of them.

Readings, quarantine and the account are plain documents: a time-series index refuses an `_id` of
one's own. State and events mirror rows of Postgres; `apps/fleet/documents.py` and
`apps/alarms/documents.py` prepare them from models, and the shapes here are what they fill.

A changed shape gets a higher VERSION; `prepare_stores` writes the template anew, and slices made
from then on have it. The names of indices don't follow it: an index that is written anew
(`reindexing.py`) keeps its name as an alias.
"""

from dataclasses import dataclass
from typing import Any

from elasticsearch.dsl import (
    Binary,
    Boolean,
    Date,
    Document,
    Double,
    Float,
    InnerDoc,
    Integer,
    Keyword,
    Long,
    MetaField,
    Object,
    Short,
    Text,
)

from apps.telemetry.bins import BINS
from apps.telemetry.levels import ROLLUPS
from ohmwatch.readings import QUANTITIES

VERSION = 2
PLATFORM = "_platform"
"""The `tenant` of what belongs to none: no slug can be this."""

SEARCH_FIELDS = ("serial", "vin", "plate", "vehicle_label", "organisation_name", "model_code")
"""What a person types into the installed base's search box is looked for in these."""
DIMENSIONS = ("model", "batch", "organisation", "vehicle", "position", "device")
"""What people slice readings, states and events by; ids as text, a batch by its name."""

_WHOLE = {"type": "integer", "index": False}
_OWN_QUANTITIES = [{"own": {"match": "x_*", "mapping": {"type": "double", "index": False}}}]


def _moment() -> Date:
    """Milliseconds since 1970 UTC, as numbers: nothing is guessed about zones."""
    return Date(format="epoch_millis")


def _quantity() -> Double:
    # Aggregations read doc values; an index over every quantity would cost more than the readings.
    return Double(index=False)


def _name() -> Keyword:
    return Keyword(ignore_above=256)


class Reading(Document):
    """The state of one connector at one instant. Identity: (tenant, connector, @timestamp)."""

    tenant = Keyword(time_series_dimension=True)
    connector = Keyword(time_series_dimension=True)
    model = Keyword()
    batch = Keyword()
    organisation = Keyword()
    vehicle = Keyword()
    position = Keyword()
    device = Keyword()
    arrived_at = _moment()
    batch_id = Long()

    class Meta:
        dynamic = MetaField(True)
        date_detection = MetaField(False)
        dynamic_templates = MetaField(_OWN_QUANTITIES)


Reading._doc_type.mapping.field("@timestamp", _moment())
for _quantity_name in QUANTITIES:
    # A float keeps seven digits, more than any sensor has, and gives back what six digits said:
    # 61.2 comes back as 61.2. Readings take 60 bytes instead of 93 (decision 0004).
    Reading._doc_type.mapping.field(_quantity_name, Float(index=False))


class Rollup(Document):
    """What a connector's readings of one bucket come to. `_id` is `<tenant>:<connector>:<start>`.

    For each quantity an object: `min`, `max`, `mean`, `count` over the bucket's readings that have
    it; `last`, its value in the bucket's newest reading, where that has it; and, on levels that
    keep distributions, `b<n>`: how many readings lay in bin n (apps/telemetry/bins.py).
    """

    tenant = Keyword()
    connector = Keyword()
    model = Keyword()
    batch = Keyword()
    organisation = Keyword()
    vehicle = Keyword()
    position = Keyword()
    device = Keyword()
    count = Integer()
    newest = _moment()  # the instant of its newest reading

    class Meta:
        dynamic = MetaField(True)
        date_detection = MetaField(False)
        dynamic_templates = MetaField(
            [
                {"bins": {"path_match": "*.b*", "mapping": {"type": "integer", "index": False}}},
                {"counts": {"path_match": "*.count", "mapping": _WHOLE}},
                {"own": {"path_match": "x_*.*", "mapping": {"type": "double", "index": False}}},
            ]
        )


Rollup._doc_type.mapping.field("@timestamp", _moment())
for _quantity_name in QUANTITIES:
    # Seven digits are more than any sensor has; a double would take twice the space.
    _parts = {part: Float(index=False) for part in ("min", "max", "mean", "last")}
    _bins = BINS[_quantity_name].fields if _quantity_name in BINS else ()
    Rollup._doc_type.mapping.field(
        _quantity_name,
        Object(
            properties={
                **_parts,
                "count": Integer(index=False),
                **{name: Integer(index=False) for name in _bins},
            }
        ),
    )


class Mark(Document):
    """How far a level of rollups has taken in one index of its source. See decision 0003."""

    level = Keyword()
    source = Keyword()
    created_at = _moment()
    start_at = _moment()
    end_at = _moment()
    open_from = _moment()
    seqs = Long(index=False, doc_values=False)
    under_way = Object(enabled=False)

    class Meta:
        dynamic = MetaField("strict")


class Quarantined(Document):
    """A refused message, or the refused rows of one. `_id` is `<tenant>:<batch>-<number>-<reason>`.

    What a replay does to it is in decision 0005: `count` sinks by what has become readings.
    """

    tenant = Keyword()
    identity = Keyword(ignore_above=256)
    device = Keyword(ignore_above=256)
    connector = Keyword()
    topic = Keyword(ignore_above=512, copy_to="words")
    reason = Keyword()
    field = Keyword(ignore_above=128, copy_to="words")
    detail = Keyword(index=False, doc_values=False, copy_to="words")
    words = Text(norms=False)  # nobody writes it: of the three above, to be searched
    number = Integer()  # position within its batch, from 0
    row = Integer()
    rows = Integer(index=False, doc_values=False)  # which readings of the message; none: all of it
    count = Long()  # readings this document stands for; 1 unless rows were put together
    messages = Integer()  # where a flood was put together: how many messages
    dropped_bytes = Long()  # … and how many of their bytes were not kept
    codec = Keyword()
    content_type = Keyword(ignore_above=128)
    payload = Binary()
    payload_bytes = Integer()
    arrived_at = _moment()
    batch_id = Long()
    replay_state = Keyword()  # claimed, replayed, partly, refused
    replay_run = Long()
    replay_batch = Long()
    replayed_at = _moment()
    replayed = Long()  # readings that have left for the readings' index, by all replays
    replay_detail = Keyword(index=False, doc_values=False)

    class Meta:
        dynamic = MetaField("strict")


class Ledger(Document):
    """What became of a batch for one tenant. `_id` is `<tenant>:<batch>`; see decision 0002."""

    tenant = Keyword()
    batch_id = Long()
    arrived_at = _moment()
    received = Long()
    stored = Long()
    duplicate = Long()
    quarantined = Object(dynamic=True)  # reason → readings
    reconciled = Keyword()  # "true" where a later life of the slot entered it

    class Meta:
        dynamic = MetaField("strict")
        dynamic_templates = MetaField(
            [{"reasons": {"path_match": "quarantined.*", "mapping": {"type": "long"}}}]
        )


class LastReading(InnerDoc):
    """The newest values, by quantity; own quantities come as they are named."""

    class Meta:
        dynamic = MetaField(True)


for _quantity_name in QUANTITIES:
    LastReading._doc_type.mapping.field(_quantity_name, _quantity())


class State(Document):
    """A connector now. `_id` is `<tenant>:<connector>`.

    The detection worker writes `last`, the three times, margin and change; upkeep writes all else
    (decision 0001), so the two never touch one field.
    """

    tenant = Keyword()
    connector = Keyword()
    # what it is, and whose
    model = Keyword()
    batch = Keyword()
    organisation = Keyword()
    vehicle = Keyword()
    position = Keyword()
    device = Keyword()
    serial = _name()
    model_code = _name()
    model_name = _name()
    vehicle_label = _name()
    vin = _name()
    plate = _name()
    organisation_name = _name()
    service = Keyword()  # in_service, retired
    installed_at = _moment()
    # how it goes
    last = Object(LastReading)
    measured_at = _moment()
    arrived_at = _moment()
    judged_at = _moment()
    margin_k = Double()  # at rated load and 40 °C, where the contacts are known
    margin_from_k = Double()  # 80 % interval of it
    margin_to_k = Double()
    headroom_k = Double()  # from the last reading's hottest pole to the limit, whatever its load
    left_s = Double()  # to the limit at its usual load, as it is going
    left_from_s = Double(index=False)  # 80 % interval of it
    left_to_s = Double(index=False)
    left_unknown = Keyword()  # why that is not told
    learnt_at = _moment()  # when a load last taught something of its contacts
    mating_step_pos = Double(index=False)  # by which the newest mating changed a pole's heating,
    mating_step_neg = Double(index=False)  # … as a share
    change = Double(index=False)  # growth of the worse pole's heating, in typical rises
    change_sd = Double(index=False)
    base_since = _moment()  # since when it is counted
    # what was said about it
    health = Keyword()  # ok, notice, warning, critical
    severity_rank = Short()  # 0 ok … 3 critical, to sort by
    open_alarms = Integer()
    worst_condition = Keyword()

    class Meta:
        dynamic = MetaField("strict")
        date_detection = MetaField(False)
        dynamic_templates = MetaField(
            [{"own": {"path_match": "last.x_*", "mapping": {"type": "double", "index": False}}}]
        )


class Event(Document):
    """An alarm event with what people ask it by. `_id` is `<tenant>:<event>`."""

    tenant = Keyword()
    event = Keyword()
    number = Long()
    alarm = Keyword()
    connector = Keyword()
    kind = Keyword()
    condition = Keyword()
    pole = Keyword()
    severity = Keyword()
    severity_rank = Short()
    reason = Keyword()
    actor = Keyword()
    note = Keyword(index=False, doc_values=False)
    old_news = Boolean()
    measured_at = _moment()
    arrived_at = _moment()
    judged_at = _moment()
    time_left_s = Double()
    evidence = Object(enabled=False)
    model = Keyword()
    batch = Keyword()
    organisation = Keyword()
    vehicle = Keyword()
    position = Keyword()
    device = Keyword()
    serial = _name()
    model_code = _name()
    model_name = _name()
    vehicle_label = _name()
    vin = _name()
    plate = _name()
    organisation_name = _name()

    class Meta:
        dynamic = MetaField("strict")


@dataclass(frozen=True)
class Kind:
    """A family of indices of one shape, and how they are set up."""

    name: str
    document: type[Document]
    settings: dict[str, Any]
    sliced: bool

    @property
    def mappings(self) -> dict[str, Any]:
        """The mapping as Elasticsearch wants it."""
        return self.document._doc_type.mapping.to_dict()

    def template(self, prefix: str, replicas: int) -> dict[str, Any]:
        """The composable template: the shape, and that nothing but us creates such an index."""
        return {
            "index_patterns": [f"{prefix}{self.name}-*"],
            "version": VERSION,
            "priority": 500,
            "allow_auto_create": False,
            "template": {
                "settings": {**self.settings, "index.number_of_replicas": replicas},
                "mappings": self.mappings,
            },
        }


_EVERY_INDEX = {
    "index.number_of_shards": 1,
    # What a browser shows is at most this old; longer would make detection's pages lie, shorter
    # makes more and smaller segments for nothing that anybody sees.
    "index.refresh_interval": "1s",
    # index.translog.durability stays `request`, its default: a bulk request is answered after its
    # translog is on the disk, and PUBACK follows that answer. With `async` a kill -9 of the store
    # loses up to 5 s of what was acknowledged (promise 1).
    "index.mapping.total_fields.limit": 2000,
    # A device with ever new x_ names must not stop the readings of all others.
    "index.mapping.total_fields.ignore_dynamic_beyond_limit": True,
}
READINGS = Kind(
    "readings",
    Reading,
    {
        **_EVERY_INDEX,
        "index.mode": "time_series",
        "index.routing_path": ["tenant", "connector"],
        # The codec stays the default: of a merged slice all is columns, and nothing is left for
        # best_compression (decision 0004).
    },
    sliced=True,
)
ROLLUP = {
    level.name: Kind(
        f"rollup-{level.name}",
        Rollup,
        {
            **_EVERY_INDEX,
            "index.codec": "best_compression",
            "index.mapping.source.mode": "synthetic",
            # As it is asked for: neighbours are alike, and a connector's range lies together.
            "index.sort.field": ["tenant", "connector", "@timestamp"],
            "index.refresh_interval": "30s",  # who builds them refreshes before setting a mark
            # What is built in a minute is small, and a question looks into each segment.
            "index.merge.policy.floor_segment": "16mb",
            "index.merge.policy.segments_per_tier": 4,
            "index.merge.policy.max_merge_at_once": 4,
        },
        sliced=True,
    )
    for level in ROLLUPS
}
MARKS = Kind("marks", Mark, _EVERY_INDEX, sliced=False)
QUARANTINE = Kind(
    "quarantine",
    Quarantined,
    {**_EVERY_INDEX, "index.codec": "best_compression"},
    sliced=True,
)
ACCOUNT = Kind("account", Ledger, {**_EVERY_INDEX, "index.codec": "best_compression"}, sliced=True)
STATE = Kind("state", State, _EVERY_INDEX, sliced=False)
EVENTS = Kind("events", Event, _EVERY_INDEX, sliced=False)
KINDS = (READINGS, *ROLLUP.values(), MARKS, QUARANTINE, ACCOUNT, STATE, EVENTS)
STATE_INDEX = "state-1"
EVENTS_INDEX = "events-1"
MARKS_INDEX = "marks-1"
