"""Alarms of connectors that their detector does not judge any more, since a rule says so."""

from datetime import datetime

from django.db import transaction

from apps.alarms.models import Alarm, AlarmEvent, Kind, State
from apps.alarms.numbering import Numbers
from apps.alarms.operations import Journal
from apps.warning.detectors import known_detectors
from apps.warning.queries import core_rules, dimensions_of
from ohmwatch.rules import Mode, Rulebook


def clear_unwatched(*, now: datetime) -> list[AlarmEvent]:
    """Ends open alarms whose detector a rule has switched off for their connector.

    Nobody judges them any more, so no reading could. Where detection has not learned of the rule
    yet and opens one anew, the next round ends it.
    """
    off = [rule for rule in core_rules() if rule.mode is Mode.OFF]
    if not off:
        return []
    known = known_detectors()
    book = Rulebook(core_rules(), list(known.values()))
    with transaction.atomic():
        journal = Journal(now, Numbers())
        # Of a plug-in that is away nobody can say whom it judges.
        switched_off = {rule.detector for rule in off} & known.keys()
        rows = Alarm.objects.filter(state=State.OPEN, detector__in=switched_off)
        for alarm in rows.select_related("connector__model", "connector__vehicle"):
            plan = book.plan_for(str(alarm.connector_id), dimensions_of(alarm.connector))
            if any(judge.key == alarm.detector for judge in plan.judges):
                continue
            alarm.state, alarm.cleared_at = State.CLEARED, now
            alarm.save(update_fields=["state", "cleared_at"])
            told = bool(alarm.told_severity)
            journal.write(alarm, Kind.CLEARED, reason="rule_switched_off", tell=told)
        return journal.close()
