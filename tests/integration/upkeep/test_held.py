"""Upkeep clears what came and went, once it has stayed quiet."""

from datetime import UTC, datetime, timedelta

from apps.alarms.models import Alarm, AlarmEvent, State
from apps.alarms.operations import apply_findings
from apps.tenants.models import Tenant
from tests.findings import OVER, WARNING, finding
from workers.upkeep import held


def test_what_stayed_quiet_is_cleared_once(in_kunlun: Tenant) -> None:
    began = datetime.now(UTC) - timedelta(hours=3)
    said = [
        finding(OVER if step % 2 else WARNING, at=began + timedelta(minutes=step))
        for step in range(8)
    ]
    apply_findings(said, judged_at=began + timedelta(minutes=10))
    assert Alarm.objects.get().state == State.OPEN
    held.tenant_held_alarms(schema=in_kunlun.schema_name)
    held.tenant_held_alarms(schema=in_kunlun.schema_name)
    assert Alarm.objects.get().state == State.CLEARED
    assert AlarmEvent.objects.filter(reason="stayed_quiet").count() == 1
