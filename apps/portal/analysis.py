"""Analysis: what a fleet's connectors went through, by model, batch, position or age."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import User
from apps.accounts.queries import organisations
from apps.catalog.queries import models
from apps.fleet.models import Connector, Vehicle
from apps.fleet.queries import connector_for, connectors, vehicles
from apps.portal import pictures
from apps.portal.people import StaffRequest, for_staff
from apps.telemetry.answers import GroupPage, GroupRow
from apps.telemetry.bins import BINS
from apps.telemetry.errors import AskedTooMuch, StoreSlow, TelemetryError
from apps.telemetry.fleet_questions import AGE
from apps.telemetry.questions import MARGIN, EventFilter, FleetFilter, StateFilter
from apps.telemetry.slices import from_ms, to_ms
from apps.telemetry.tenant import TenantTelemetry
from apps.tenants.lookups import key_of
from config.presentation import QUANTITY_WORDS
from config.words import EVIDENCE_WORDS, position

DAY = timedelta(days=1)
SPANS: Mapping[str, tuple[timedelta, timedelta]] = {
    "1d": (DAY, timedelta(hours=1)),
    "7d": (7 * DAY, timedelta(hours=6)),
    "30d": (30 * DAY, DAY),
    "90d": (90 * DAY, DAY),
}
"""How far back, and how long a stretch of it is that gets values of its own."""
SPAN_WORDS = {
    "1d": _("24 hours"),
    "7d": _("7 days"),
    "30d": _("30 days"),
    "90d": _("90 days"),
}
GROUPINGS = {
    "model": _("Model"),
    "batch": _("Batch"),
    "organisation": _("Organisation"),
    "vehicle": _("Vehicle"),
    "position": _("Position"),
    AGE: _("Years since installation"),
}
COMPARED = frozenset(GROUPINGS) - {"vehicle"}
"""What groups are compared by over a range; of vehicles there may be too many, and those that lead
are told."""
RANKS: Mapping[str, Promise | str] = {
    "count": _("Connectors"),
    "minimum": _("Lowest"),
    "mean": _("Mean"),
    "p50": _("half lie below"),
    "maximum": _("Highest"),
}
"""What groups of connectors are ranked by now, a column each."""
SHOWN, SHOWN_MOST = 10, 100
CODE_LENGTH = 64
LOWEST_MATTERS = frozenset({"insulation_kohm", MARGIN})
"""Quantities whose least value is the worrying one."""
HIGH_LINES = (
    (50.0, "p50", _("half lie below")),
    (95.0, "p95", _("95 % lie below")),
    (99.0, "p99", _("99 % lie below")),
)
LOW_LINES = (
    (50.0, "p50", _("half lie below")),
    (5.0, "p95", _("5 % lie below")),
    (1.0, "p99", _("1 % lie below")),
)
"""A percentile, the class of its line, what it is called; the second is what groups go by."""
RANKED = 10
ALIKE = 8
DUTY = (
    ("current_a mean", "current_a", _("Current, mean")),
    ("current_a maximum", "current_a", _("Current, highest")),
    ("temperature_pos_c mean", "temperature_pos_c", _("Contact, mean")),
    ("temperature_pos_c maximum", "temperature_pos_c", _("Contact, highest")),
)
"""What is shown of a duty: its key, its quantity, what it is called."""
MONTHS = 6


QUANTITIES = {
    **{name: QUANTITY_WORDS[name] for name in BINS},
    MARGIN: EVIDENCE_WORDS[MARGIN],
}
"""What can be asked of now; but for the margin, over a range as well."""

Lines = Sequence[tuple[float, str, Promise | str]]
Told = TypeVar("Told")


@dataclass(frozen=True)
class Asked:
    """What the page's form says, each part of it valid; a model is told by its code."""

    quantity: str = "temperature_pos_c"
    span: str = "30d"
    by: str = "model"
    model: str = ""
    organisation: str = ""
    rank: str = ""
    more: bool = False

    @classmethod
    def of(cls, form: QueryDict) -> "Asked":
        """Whatever is not known is as when nothing was said."""

        def known(name: str, values: Container[str]) -> str:
            said = form.get(name, "")
            return said if said in values else getattr(cls, name)

        organisation = form.get("organisation", "")
        return cls(
            quantity=known("quantity", QUANTITIES),
            span=known("span", SPANS),
            by=known("by", GROUPINGS),
            model=form.get("model", "")[:CODE_LENGTH],
            organisation=organisation if key_of(organisation) else "",
            rank=known("rank", RANKS),
            more=form.get("more") == "1",
        )

    @property
    def filters(self) -> FleetFilter:
        return FleetFilter(model=self.model or None, organisation=self.organisation or None)

    def stretch(self, now: datetime) -> dict[str, Any]:
        """From a whole hour or day until now."""
        span, every = SPANS[self.span]
        start_s = (now - span).timestamp() // every.total_seconds() * every.total_seconds()
        return {"start": datetime.fromtimestamp(start_s, UTC), "end": now}

    @property
    def every(self) -> timedelta:
        return SPANS[self.span][1]

    @property
    def over_time(self) -> bool:
        """Margins are known of now alone."""
        return self.quantity in BINS

    @property
    def ranked_by(self) -> str:
        """What was chosen, or the worst value of a group's connectors."""
        return self.rank or ("minimum" if self.lowest else "maximum")

    @property
    def chosen(self) -> dict[str, str]:
        """Which connectors, as the installed base is asked for them."""
        both = {"model": self.model, "organisation": self.organisation}
        return {name: value for name, value in both.items() if value}

    @property
    def lowest(self) -> bool:
        return self.quantity in LOWEST_MATTERS

    @property
    def lines(self) -> Lines:
        return LOW_LINES if self.lowest else HIGH_LINES


@for_staff()
def analysis(request: StaffRequest) -> HttpResponse:
    asked, now = Asked.of(request.GET), timezone.now()
    context: dict[str, Any] = {
        "asked": asked,
        "quantities": QUANTITIES.items(),
        "ranks": RANKS.items(),
        "spans": SPAN_WORDS.items(),
        "groupings": GROUPINGS.items(),
        "models": models(for_user=request.user).values_list("code", flat=True),
        "organisations": organisations(for_user=request.user),
    }
    telemetry = TenantTelemetry(request.tenant.slug, retention=request.tenant.retention)
    try:
        context["now"] = _now(telemetry, asked, now, request.user)
        if asked.over_time:
            context |= _answers(telemetry, asked, now, request.user)
    except AskedTooMuch as error:
        context["too_much"] = error.data
    except StoreSlow:
        context["slow"] = True
    except TelemetryError as error:
        context["failed"] = error.code
    return render(request, "portal/analysis.html", context)


def _answers(telemetry: TenantTelemetry, asked: Asked, now: datetime, user: User) -> dict[str, Any]:
    stretch, filters = asked.stretch(now), asked.filters
    percents = [percent for percent, *_ in asked.lines]
    spread = telemetry.distribution(
        asked.quantity, every=asked.every, percents=percents, filters=filters, **stretch
    )
    if not spread.rows:
        return {"nothing": True}
    by = [asked.by] if asked.by in COMPARED else []
    groups = telemetry.percentiles(
        asked.quantity, by=by, percents=percents, filters=filters, **stretch
    )
    every_ms = int(asked.every.total_seconds() * 1000)
    return {
        "courses": _courses(spread.groups, asked.lines, every_ms),
        "heat": pictures.heat_map(spread.edges, spread.rows, every_ms, _Said(asked.quantity)),
        "groups": _named(groups.rows, asked, user) if by else [],
        "settled": spread.settled and groups.settled,
        "ranked": _ranked(telemetry, asked, stretch, user),
        "alarms": _by_month(telemetry, asked, now),
    }


# --- now --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leader:
    """A group of connectors by their last values, what it is called, where they are listed."""

    name: str
    url: str
    row: GroupRow

    @property
    def median(self) -> float:
        return self.row.percentiles[50.0]


@dataclass(frozen=True)
class Now:
    """The groups that lead now; `more` are told where they are asked for."""

    leaders: list[Leader]
    page: GroupPage
    more: bool


def _now(telemetry: TenantTelemetry, asked: Asked, now: datetime, user: User) -> Now:
    """The worst first, unless another column was chosen; of numbers of connectors the most."""
    page = telemetry.top_now(
        asked.quantity,
        by=asked.by,
        statistic=asked.ranked_by,
        lowest=asked.lowest and asked.ranked_by != "count",
        now=now,
        filters=StateFilter(model=asked.model or None, organisation=asked.organisation or None),
        size=SHOWN_MOST if asked.more else SHOWN,
    )
    names = _names(asked.by, user, [row.group.values[0] for row in page.rows])
    leaders = [
        Leader(_called(asked.by, value, names), _listed(asked, value), row)
        for row in page.rows
        for value in row.group.values
    ]
    return Now(leaders, page, not asked.more and page.total > len(leaders))


def _listed(asked: Asked, value: str) -> str:
    """The installed base, of a group's connectors alone, the worst or the least margin first."""
    query = {**asked.chosen, asked.by: value, **({"sort": "margin"} if asked.lowest else {})}
    return f"{reverse('portal:base')}?{urlencode(query)}"


# --- pictures ---------------------------------------------------------------------------------


def _courses(rows: Sequence[GroupRow], wanted: Lines, every_ms: int) -> pictures.Courses:
    times = [row.group.start_ms or 0 for row in rows]
    lines = [
        (kind, name, [(at, row.percentiles[percent]) for at, row in zip(times, rows, strict=True)])
        for percent, kind, name in wanted
    ]
    band = [(at, row.minimum, row.maximum) for at, row in zip(times, rows, strict=True)]
    return pictures.courses(lines, band, every_ms)


class _Said:
    """What a cell of the heat map says when pointed at."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, at_ms: int, low: float, high: float, share: float) -> str:
        return gettext("%(day)s: %(share)s between %(low)s and %(high)s") % {
            "day": datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "share": f"{share:.1%}",
            "low": f"{low:g}",
            "high": f"{high:g}",
        }


# --- tables -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    """A group's row with what the group and its percentiles are called."""

    name: str
    row: GroupRow
    lines: Lines

    @property
    def percentiles(self) -> list[tuple[Promise | str, float]]:
        return [(name, self.row.percentiles[percent]) for percent, _, name in self.lines]


def _named(rows: Sequence[GroupRow], asked: Asked, user: User) -> list[Named]:
    """The worst first, by the second of the lines; ages in their order."""
    names = _names(asked.by, user, [row.group.values[0] for row in rows])
    found = [Named(_called(asked.by, row.group.values[0], names), row, asked.lines) for row in rows]
    if asked.by == AGE:
        return found
    decisive = asked.lines[1][0]
    return sorted(found, key=lambda each: each.row.percentiles[decisive], reverse=not asked.lowest)


def _names(by: str, user: User, values: Sequence[str]) -> dict[str, str]:
    """What the keys of organisations or vehicles are called."""
    if by == "vehicle":
        keys = [key for value in values if (key := key_of(value))]
        return {str(pk): str(each) for pk, each in vehicles(for_user=user).in_bulk(keys).items()}
    if by != "organisation":
        return {}
    rows = organisations(for_user=user).values_list("pk", "name")
    return {str(pk): name for pk, name in rows}


def _called(by: str, value: str, names: Mapping[str, str]) -> str:
    if not value:
        return gettext("in store") if by == "organisation" else gettext("not told")
    if by == "position":
        return position(value)
    unnamed = gettext("no longer there") if by in ("organisation", "vehicle") else value
    return names.get(value, unnamed)


@dataclass(frozen=True)
class Ranked:
    """A connector or a vehicle among the leading ones."""

    what: Connector | Vehicle
    row: GroupRow


def _ranked(
    telemetry: TenantTelemetry, asked: Asked, stretch: Mapping[str, Any], user: User
) -> dict[str, list[Ranked]]:
    statistic = "minimum" if asked.lowest else "maximum"

    def top(by: str) -> GroupPage:
        return telemetry.top(
            asked.quantity,
            by=by,
            statistic=statistic,
            filters=asked.filters,
            size=RANKED,
            **stretch,
        )

    def ranked(by: str, known: QuerySet[Any]) -> list[Ranked]:
        told = [(row.group.values[0], row) for row in top(by).rows]
        return [Ranked(what, row) for what, row in _still_there(known, told)]

    return {
        "connector": ranked("connector", connectors(for_user=user)),
        "vehicle": ranked("vehicle", vehicles(for_user=user)),
    }


def _still_there(known: QuerySet[Any], told: Sequence[tuple[str, Told]]) -> list[tuple[Any, Told]]:
    """What is told of each row, by its key, in that order; what is gone is left out."""
    keyed = [(key, each) for text, each in told if (key := key_of(text))]
    rows = known.in_bulk([key for key, _ in keyed])
    return [(rows[key], each) for key, each in keyed if key in rows]


@for_staff()
def alike(request: StaffRequest, pk: UUID) -> HttpResponse:
    """A part of a connector's page, asked for on its own: connectors that live as it does."""
    connector = connector_for(user=request.user, pk=pk)
    context: dict[str, Any] = {"duty": DUTY}
    try:
        telemetry = TenantTelemetry(request.tenant.slug, retention=request.tenant.retention)
        found = telemetry.similar(connector.pk, now=timezone.now(), size=ALIKE)
    except TelemetryError as error:
        context["failed"] = error.code
    else:
        told = [(each.connector, each.duty) for each in found]
        context["rows"] = _still_there(connectors(for_user=request.user), told)
    return render(request, "portal/alike.html", context)


# --- alarms -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Months:
    """Opened alarms by batch and month: the months' names, and each batch's count in each.

    `failed`: the code of why they can't be told, where that is so.
    """

    months: list[str]
    rows: list[tuple[str, list[tuple[int, int]]]]
    failed: str = ""


def _by_month(telemetry: TenantTelemetry, asked: Asked, now: datetime) -> Months:
    """The last MONTHS months, UTC; batches with most alarms first. A table that can't be told
    takes no other answer with it."""
    first = (now.year * 12 + now.month) - MONTHS
    months = [datetime((first + n) // 12, (first + n) % 12 + 1, 1, tzinfo=UTC)
              for n in range(MONTHS)]  # fmt: skip
    names = [f"{month:%Y-%m}" for month in months]
    filters = EventFilter(
        start_ms=to_ms(months[0]),
        model=asked.model or None,
        organisation=asked.organisation or None,
    )
    try:
        counts = telemetry.alarm_counts(by="batch", filters=filters)
    except TelemetryError as error:
        return Months(names, [], error.code)
    table: defaultdict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for each in counts:
        table[each.value][f"{from_ms(each.month_ms):%Y-%m}"] = (each.alarms, each.connectors)
    rows = [
        (batch, [by_month.get(name, (0, 0)) for name in names]) for batch, by_month in table.items()
    ]
    return Months(names, sorted(rows, key=lambda row: -sum(alarms for alarms, _ in row[1])))
