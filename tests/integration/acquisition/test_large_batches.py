"""A batch larger than one request may be, and a store that refuses a request as a whole.

Whatever it answers: the good readings are stored, each once, and what is to blame goes to the
quarantine by itself.
"""

import json

import pytest

from apps.telemetry.answers import ItemResult
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from ohmwatch.readings import OWN_QUANTITIES_LIMIT, READINGS_LIMIT
from ohmwatch.refusals import Reason
from tests import cast, mqtt
from tests.acquisition import (
    Slot,
    Worker,
    account,
    assert_closed,
    device,
    elasticsearch_behind,
    now_ms,
    open_session,
    reading,
    received,
    stored_times,
    topic,
    until,
)
from tests.faults.nemesis import Liar
from workers.acquisition.intake import Limits
from workers.acquisition.runs import RUN_BYTES, RUN_READINGS

pytestmark = pytest.mark.usefixtures("kunlun", "empty_elasticsearch")

TBOX = topic("kunlun.tbox-1")
TOGETHER = Limits(batch_bytes=1 << 30, wait_s=1.0)
"""So that what is sent at once becomes one batch."""


def thin(start_ms: int, count: int, channel: int = 0) -> bytes:
    """Readings of one quantity, by columns: a few bytes each."""
    columns = {"interlock": [1] * count}
    document = {"channel": channel, "start": start_ms, "step_ms": 1, "columns": columns}
    return json.dumps(document, separators=(",", ":")).encode()


def wide(start_ms: int, count: int) -> bytes:
    """With as many quantities of its own as may be, and the longest names."""
    names = [f"x_{number:_>32}" for number in range(OWN_QUANTITIES_LIMIT)]
    columns = {name: [1] * count for name in names}
    return json.dumps({"start": start_ms, "step_ms": 1, "columns": columns}).encode()


def bodies(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The requests of readings that are sent from now on."""
    real, sent = TelemetryStore.bulk, []

    def bulk(self: TelemetryStore, lines: bytes, **more: float) -> list[ItemResult]:
        if b'"@timestamp"' in lines:
            sent.append(lines)
        return real(self, lines, **more)

    monkeypatch.setattr(TelemetryStore, "bulk", bulk)
    return sent


def test_many_thin_readings_go_in_several_requests(
    broker: mqtt.Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Singles, duplicates and refused rows among them; each answer finds its reading."""
    sent, start = bodies(monkeypatch), now_ms() - 3_600_000
    payloads = [thin(start + n * READINGS_LIMIT, READINGS_LIMIT) for n in range(3)]
    again = thin(start + READINGS_LIMIT - 100, 200)
    bad = json.dumps({"readings": [{"time": start, "interlock": 7}] * 5}).encode()
    singles = [reading(start + 15_000 + n) for n in range(20)]
    with Slot(broker.worker_port, limits=TOGETHER), device(broker, "kunlun.tbox-1") as box:
        box.deliver(TBOX, [*singles, *payloads, again, bad])
        until(lambda: received() == 15_225)
    assert len(sent) > 1
    assert max(body.count(b"\n") // 2 for body in sent) <= RUN_READINGS
    line = account()["kunlun"]
    assert (line.stored, line.duplicate) == (15_020, 200)
    assert line.quarantined == {Reason.OUT_OF_RANGE: 5}
    assert stored_times(cast.BENS_CONNECTOR) == list(range(start, start + 15_020))
    assert_closed()


def test_readings_of_one_message_go_in_several_requests(
    broker: mqtt.Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, start = bodies(monkeypatch), now_ms() - 3_600_000
    with Slot(broker.worker_port), device(broker, "kunlun.tbox-1") as box:
        box.deliver(TBOX, [wide(start, READINGS_LIMIT)])
        until(lambda: received() == READINGS_LIMIT)
    assert len(sent) > 1
    assert max(map(len, sent)) < 1.5 * RUN_BYTES
    assert stored_times(cast.BENS_CONNECTOR) == list(range(start, start + READINGS_LIMIT))
    assert_closed()


def test_killed_between_two_requests_of_a_batch(broker: mqtt.Mosquitto) -> None:
    open_session(broker)
    start = now_ms() - 3_600_000
    device(broker, "kunlun.tbox-1").deliver(TBOX, [wide(start, READINGS_LIMIT)])
    with Worker(broker.worker_port) as worker:
        worker.start(ready=False, OHMWATCH_FAULT="after_bulk")
        assert worker.wait() == -9, worker.tail()
    before = len(stored_times(cast.BENS_CONNECTOR))
    assert 0 < before < READINGS_LIMIT
    with Slot(broker.worker_port):
        until(lambda: received() == before + READINGS_LIMIT)
    line = account()["kunlun"]
    assert (line.stored, line.duplicate) == (READINGS_LIMIT, before)
    assert stored_times(cast.BENS_CONNECTOR) == list(range(start, start + READINGS_LIMIT))
    assert_closed()


def test_a_request_that_is_too_large_goes_in_parts(broker: mqtt.Mosquitto) -> None:
    start = now_ms() - 3_600_000
    with Liar() as liar:
        liar.mode, liar.most_bytes = "small", 100_000
        url = elasticsearch_behind(liar.port)
        with (
            Slot(broker.worker_port, elasticsearch_url=url, limits=TOGETHER),
            device(broker, "kunlun.tbox-1") as box,
        ):
            box.deliver(TBOX, [thin(start, 1_000), thin(start + 900, 200), b"x" * 200_000])
            until(lambda: received() == 1_201)
        assert liar.lied > 0
    line = account()["kunlun"]
    assert (line.stored, line.duplicate) == (1_100, 100)
    assert line.quarantined == {Reason.UNDECODABLE: 1}  # kept without its bytes
    assert stored_times(cast.BENS_CONNECTOR) == list(range(start, start + 1_100))
    assert_closed()


def test_one_document_that_spoils_its_request_blocks_no_other(broker: mqtt.Mosquitto) -> None:
    start = now_ms() - 3_600_000
    with Liar() as liar:
        liar.mode, liar.poison = "picky", b":%d," % (start + 77)
        url = elasticsearch_behind(liar.port)
        with (
            Slot(broker.worker_port, elasticsearch_url=url),
            device(broker, "kunlun.tbox-1") as box,
        ):
            box.deliver(TBOX, [thin(start, 200)])
            until(lambda: received() == 200)
        assert liar.lied > 1
    line = account()["kunlun"]
    assert (line.stored, line.duplicate) == (199, 0)
    assert line.quarantined == {Reason.STORE_REFUSED: 1}
    (found,) = TenantTelemetry("kunlun").quarantine(reason="store_refused").messages
    assert (found.row, found.detail) == (77, "status 400: parse_exception: picky")
    assert_closed()


def test_where_nothing_passes_the_store_is_held_for(broker: mqtt.Mosquitto) -> None:
    """What stands before it answers 400 to everything: no reading is to blame for that."""
    start = now_ms() - 3_600_000
    with Liar() as liar:
        liar.mode, liar.poison = "picky", b"{"
        url = elasticsearch_behind(liar.port)
        with (
            Slot(broker.worker_port, elasticsearch_url=url) as slot,
            device(broker, "kunlun.tbox-1") as box,
        ):
            box.deliver(TBOX, [thin(start, 200)])
            until(lambda: "elasticsearch" in slot.crew.state()["holding"])
            until(lambda: liar.lied > 4)
            liar.mode = ""
            until(lambda: received() == 200)
    line = account()["kunlun"]
    assert (line.stored, line.duplicate, line.quarantined) == (200, 0, {})
    assert_closed()
