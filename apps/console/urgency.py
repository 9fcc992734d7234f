"""Alarms in the order in which they need a person."""

from django.db.models import Case, IntegerField, QuerySet, Value, When

from apps.alarms.models import Alarm, Severity


def worst_first(alarms: QuerySet[Alarm]) -> QuerySet[Alarm]:
    """By severity, then the newest."""
    ranks = [When(severity=each.value, then=Value(each.rank)) for each in Severity]
    rank = Case(*ranks, output_field=IntegerField())
    return alarms.annotate(severity_rank=rank).order_by("-severity_rank", "-opened_at", "-id")
