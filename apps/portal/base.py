"""The installed base: every connector of the manufacturer, sliced by what it is and where."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import User
from apps.accounts.queries import organisations
from apps.alarms.queries import Health, health_of
from apps.catalog.queries import models
from apps.fleet.models import Connector
from apps.fleet.queries import connectors, vehicles
from apps.portal.people import StaffRequest, for_staff
from apps.telemetry.answers import State
from apps.telemetry.errors import TelemetryError
from apps.telemetry.fleet_questions import AGE, AGES, installed_within
from apps.telemetry.tenant import StateFilter, TenantTelemetry
from apps.tenants.lookups import key_of
from config.presentation import HEALTH_WORDS
from config.words import position

PAGE = 50
FACETS = {
    "health": _("Health"),
    "model": _("Model"),
    "batch": _("Batch"),
    "organisation": _("Organisation"),
    "position": _("Position"),
}
NARROWED = {"vehicle": _("Vehicle"), AGE: _("Years since installation")}
"""What the analysis page narrows by, too, of which no values are counted."""
SORTS = {
    "worst": _("Worst first"),
    "margin": _("Least margin first"),
    "newest": _("Newest reading first"),
    "serial": _("Serial number"),
}
FACET_ROWS = 12


def _names(user: User) -> dict[str, dict[str, str]]:
    """What the ids of each facet are called."""
    return {
        "health": {code: str(word) for code, word in HEALTH_WORDS.items()},
        "model": {str(pk): code for pk, code in models(for_user=user).values_list("pk", "code")},
        "organisation": {
            str(pk): name for pk, name in organisations(for_user=user).values_list("pk", "name")
        },
    }


@dataclass(frozen=True)
class Row:
    """A connector of the installed base: who and its alarms by Postgres, values by the store."""

    connector: Connector
    state: State
    alarm_health: Health

    @property
    def health(self) -> str:
        if self.alarm_health.open_alarms or self.state.measured_at:
            return self.alarm_health.health
        return "unknown"


def with_connectors(states: Sequence[State], *, user: User) -> list[Row]:
    """Each state with its connector; what is gone in Postgres is left out. Two queries."""
    found = connectors(for_user=user).in_bulk([UUID(state.connector) for state in states])
    healths = health_of(found)
    known = [(UUID(state.connector), state) for state in states]
    return [Row(found[pk], state, healths[pk]) for pk, state in known if pk in found]


def _facet_rows(
    counts: dict[str, dict[str, int]], names: dict[str, dict[str, str]], chosen: dict[str, str]
) -> Iterable[tuple[str, object, list[tuple[str, str, int, bool]]]]:
    """(field, title, [(value, name, count, chosen)]), the most frequent first."""
    for name, title in FACETS.items():
        called = names.get(name, {})
        found = sorted(counts.get(name, {}).items(), key=lambda row: -row[1])
        rows = [
            (value, called.get(value) or _called(name, value), count, chosen.get(name) == value)
            for value, count in found[:FACET_ROWS]
        ]
        if rows:
            yield name, title, rows


def _called(facet: str, value: str) -> str:
    return position(value) if facet == "position" else value


@for_staff()
def installed_base(request: StaffRequest) -> HttpResponse:
    known = {**FACETS, **NARROWED}
    chosen: dict[str, Any] = {name: request.GET[name] for name in known if request.GET.get(name)}
    if chosen.get(AGE) not in {label for label, *_ in AGES}:
        chosen.pop(AGE, None)
    sort = request.GET.get("sort", "")
    sort = sort if sort in SORTS else "worst"
    search = request.GET.get("q", "")
    context: dict[str, Any] = {"chosen": chosen, "sort": sort, "sorts": SORTS.items()}
    context |= {"search": search, "number": _page_number(request)}
    context["narrowed"] = _narrowed(chosen, request.user)
    try:
        found = TenantTelemetry(request.tenant.slug).states(
            _filter(chosen, search),
            sort=sort,
            page=context["number"],
            size=PAGE,
            facets=list(FACETS),
        )
    except TelemetryError as error:
        context["failed"] = error.code
    else:
        context["found"] = found
        context["rows"] = with_connectors(found.states, user=request.user)
        context["facets"] = list(_facet_rows(found.facets, _names(request.user), chosen))
        context["more"] = found.total > context["number"] * PAGE
    return render(request, "portal/base.html", context)


def _filter(chosen: Mapping[str, str], search: str) -> StateFilter:
    of: dict[str, Any] = {name: value for name, value in chosen.items() if name != AGE}
    of |= installed_within(chosen.get(AGE, ""), timezone.now())
    return StateFilter(search=search, **of)


def _narrowed(chosen: Mapping[str, str], user: User) -> list[tuple[str, object, object]]:
    """(field, title, value) of what is chosen and has no facet."""
    found: list[tuple[str, object, object]] = []
    if said := chosen.get("vehicle"):
        key = key_of(said)
        vehicle = vehicles(for_user=user).filter(pk=key).first() if key else None
        found.append(("vehicle", NARROWED["vehicle"], vehicle or _("no longer there")))
    if said := chosen.get(AGE):
        found.append((AGE, NARROWED[AGE], said))
    return found


def _page_number(request: StaffRequest) -> int:
    asked = request.GET.get("page", "1")
    return max(1, int(asked)) if asked.isdecimal() and len(asked) < 6 else 1
