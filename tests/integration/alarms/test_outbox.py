"""How a consumer takes what it must tell, and what happens when it doesn't come back."""

from datetime import timedelta

import pytest

from apps.alarms import operations, outbox
from apps.alarms.documents import AlarmEventDocument, event_document
from apps.alarms.models import AlarmEvent, Consumer
from apps.telemetry.documents import Event
from tests.conftest import Clock
from tests.findings import CRITICAL, WARNING, finding

pytestmark = pytest.mark.usefixtures("in_kunlun")


@pytest.fixture(autouse=True)
def _two_events(in_kunlun: object, clock: Clock) -> None:
    for severity in (WARNING, CRITICAL):
        said = finding(severity, at=clock.now)
        operations.apply_findings([said], judged_at=clock.advance(seconds=1))


def test_claimed_once_in_order_and_settled(clock: Clock) -> None:
    claimed = outbox.claim(consumer=Consumer.INDEX, now=clock.now)
    assert [entry.event.number for entry in claimed] == [1, 2]
    assert outbox.claim(consumer=Consumer.INDEX, now=clock.now) == []
    assert outbox.settle(claimed) == 2
    assert outbox.claim(consumer=Consumer.INDEX, now=clock.advance(hours=1)) == []


def test_what_a_crash_left_claimed_is_due_again(clock: Clock) -> None:
    lost = outbox.claim(consumer=Consumer.INDEX, now=clock.now)
    clock.advance(seconds=outbox.LEASE.total_seconds() + 1)
    again = outbox.claim(consumer=Consumer.INDEX, now=clock.now)
    assert [entry.pk for entry in again] == [entry.pk for entry in lost]
    assert outbox.settle(lost) == 0  # the slow twin's word no longer counts
    assert outbox.settle(again) == 2


def test_one_statement_tells_which_tenants_have_work(clock: Clock) -> None:
    schemas = ["t_aurora", "t_kunlun"]
    ask = [Consumer.NOTIFY, Consumer.LIVE]
    assert outbox.schemas_with_work(ask, schemas=schemas, now=clock.now) == ["t_kunlun"]
    assert outbox.schemas_with_work(ask, schemas=[], now=clock.now) == []
    outbox.settle(outbox.claim(consumer=Consumer.NOTIFY, now=clock.now))
    outbox.settle(outbox.claim(consumer=Consumer.LIVE, now=clock.now - timedelta(seconds=1)))
    assert outbox.schemas_with_work(ask, schemas=schemas, now=clock.now) == []


def test_the_document_has_the_index_shape_and_the_tenant_in_its_key(clock: Clock) -> None:
    event = AlarmEvent.objects.first()
    assert event is not None
    document = event_document(event, tenant="kunlun")
    shape = Event._doc_type.mapping.to_dict()["properties"]
    assert set(document) <= set(shape)
    assert document["serial"] == "SN-0001"
    assert AlarmEventDocument.generate_id(event) == f"kunlun:{event.pk}"
    assert AlarmEventDocument().prepare(event) == document
