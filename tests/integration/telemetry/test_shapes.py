"""What differs on the cluster is told, and a slice is written anew while readings come in."""

from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command

from apps.telemetry import cluster, documents, erasing, reindexing
from apps.telemetry.answers import ItemResult, LedgerEntry
from apps.telemetry.differences import differences, mend, missing
from apps.telemetry.documents import KINDS, QUARANTINE, READINGS, STATE, STATE_INDEX, VERSION
from apps.telemetry.errors import StoreRefused, StoreUnavailable, WrongQuestion
from apps.telemetry.reindexing import Copy
from apps.telemetry.rollups import Builder, Pace
from apps.telemetry.store import TelemetryStore
from apps.telemetry.tenant import TenantTelemetry
from ohmwatch.readings import MESSAGE_BYTES_LIMIT
from tests.integration.telemetry.conftest import CONNECTOR, NOW, NOW_MS, forget, reading_lines

TENANT = "kunlun"


@pytest.fixture
def old_store(elasticsearch: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TelemetryStore]:
    """A store of its own whose readings were made by a version with doubles."""
    store = TelemetryStore(prefix=f"{elasticsearch}shapes-", open_days=1)
    wanted = READINGS.mappings
    older = {**wanted, "properties": {**wanted["properties"]}}
    older["properties"]["current_a"] = {"type": "double", "index": False}
    del older["properties"]["humidity_pct"]
    with monkeypatch.context() as patch:
        patch.setattr(type(READINGS), "mappings", property(lambda self: _shape(self, older)))
        store.prepare(NOW)
    yield store
    forget(store)


def _shape(kind: Any, older: dict[str, Any]) -> dict[str, Any]:
    return older if kind is READINGS else kind.document._doc_type.mapping.to_dict()


def test_a_fresh_store_is_as_wanted(elasticsearch: str) -> None:
    told = StringIO()

    call_command("stores", stdout=told)

    assert "as this version wants it" in told.getvalue()


def test_what_differs_is_told_and_what_is_missing_is_added(old_store: TelemetryStore) -> None:
    index = old_store.reading_index("30d", NOW_MS)

    found = {(each.where, each.what): each for each in differences(old_store)}

    changed = found[index, "current_a"]
    assert (changed.wanted, changed.found) == ("type=float index=false", "type=double index=false")
    assert changed.needs_rewriting
    assert found[index, "humidity_pct"].found is None
    assert (f"template {old_store.prefix}readings", "current_a") in found

    old_store.prepare(NOW)
    assert mend(old_store) == len([name for name in old_store.indices() if "readings" in name])

    left = differences(old_store)
    assert {each.what for each in left} == {"current_a"}
    assert all(each.needs_rewriting for each in left)


def test_states_of_an_older_version_learn_its_new_fields(
    elasticsearch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update would refuse every state that has one: the index is strict."""
    store = TelemetryStore(prefix=f"{elasticsearch}young-", open_days=1)
    older = {**STATE.mappings, "properties": {**STATE.mappings["properties"]}}
    del older["properties"]["margin_from_k"]
    plain = READINGS.mappings
    with monkeypatch.context() as patch:
        patch.setattr(
            type(STATE),
            "mappings",
            property(lambda kind: older if kind is STATE else _shape(kind, plain)),
        )
        store.prepare(NOW)
    try:
        row = {"tenant": TENANT, "connector": CONNECTOR, "margin_from_k": 1.5}
        assert [answer.is_stored for answer in store.update_states([row])] == [False]
        store.prepare(NOW)
        assert [answer.is_stored for answer in store.update_states([row])] == [True]
    finally:
        forget(store)


def test_words_are_found_in_an_older_quarantine_once_it_is_written_anew(
    elasticsearch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its field comes with `prepare`, what is said in it only by copying."""
    store = TelemetryStore(prefix=f"{elasticsearch}wordless-", open_days=1)
    wanted = QUARANTINE.mappings
    fields = {
        name: {key: value for key, value in field.items() if key != "copy_to"}
        for name, field in wanted["properties"].items()
        if name != "words"
    }
    with monkeypatch.context() as patch:
        patch.setattr(
            type(QUARANTINE),
            "mappings",
            property(
                lambda kind: (
                    {**wanted, "properties": fields}
                    if kind is QUARANTINE
                    else kind.document._doc_type.mapping.to_dict()
                )
            ),
        )
        store.prepare(NOW)
    try:
        index = store.quarantine_index(NOW_MS)
        action = {"create": {"_index": index, "_id": f"{TENANT}:1-0-malformed"}}
        message = {
            "tenant": TENANT, "reason": "malformed", "detail": "unexpected comma at byte 17",
            "topic": "up/kunlun/tbox-1", "count": 1, "arrived_at": NOW_MS, "payload_bytes": 0,
        }  # fmt: skip
        store.bulk(b"".join(orjson.dumps(each) + b"\n" for each in (action, message)))
        store.prepare(NOW)
        store.refresh()
        telemetry = TenantTelemetry(TENANT, store=store)
        assert telemetry.quarantine(words="comma unexpected").total == 0
        assert index in {each.where for each in differences(store) if each.needs_rewriting}

        Copy(store, index).run()

        assert telemetry.quarantine(words="comma unexpected").total == 1
        assert index not in {each.where for each in differences(store)}
    finally:
        forget(store)


def test_refused_messages_are_copied_few_at_a_time(
    elasticsearch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thousand of the largest in one request would be five times what the store takes."""
    store = TelemetryStore(prefix=f"{elasticsearch}large-", open_days=1)
    store.prepare(NOW)
    try:
        index, payload = store.quarantine_index(NOW_MS), b64encode(b"x" * MESSAGE_BYTES_LIMIT)
        for number in range(120):
            action = {"create": {"_index": index, "_id": f"{TENANT}:{number}-0-too_large"}}
            message = {"tenant": TENANT, "reason": "too_large", "payload": payload.decode()}
            store.bulk(b"".join(orjson.dumps(each) + b"\n" for each in (action, message)))
        sizes: list[int] = []
        real = TelemetryStore.bulk

        def bulk(self: TelemetryStore, lines: bytes, **more: float) -> list[ItemResult]:
            sizes.append(len(lines))
            return real(self, lines, **more)

        monkeypatch.setattr(TelemetryStore, "bulk", bulk)
        done = Copy(store, index).run()
    finally:
        forget(store)
    assert done.documents == 120
    assert sum(sizes) > 120 * len(payload) > max(sizes) * 2


def test_a_slice_is_written_anew_while_readings_come_in(
    old_store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindexing, "PAGE", 50)
    monkeypatch.setattr(reindexing, "LITTLE", 10)
    index = old_store.reading_index("30d", NOW_MS)
    rows = [(NOW_MS - 3_600_000 + n * 1000, {"current_a": n / 10}) for n in range(400)]
    old_store.bulk(reading_lines(old_store, TENANT, rows[:300]))
    Builder(old_store, pace=Pace(share=1.0)).advance(NOW + timedelta(hours=3))
    more = iter(range(300, 400, 20))
    write = Copy._write

    def meanwhile(self: Copy, page: list[dict[str, Any]]) -> None:
        write(self, page)
        first = next(more, None)
        if first is not None:
            lines = reading_lines(old_store, TENANT, rows[first : first + 20])
            assert all(result.is_stored for result in old_store.bulk(lines))
            old_store.refresh()
            seen = old_store.client.count(index=f"{old_store.prefix}readings-*")["count"]
            assert seen == first + 20  # none of them twice
            assert old_store.unfinished() == [f"{index}.2"]

    monkeypatch.setattr(Copy, "_write", meanwhile)
    done = Copy(old_store, index).run()
    old_store.refresh()

    assert (done.new, done.documents) == (f"{index}.2", 400)
    assert done.old not in old_store.indices()
    assert done.new in old_store.indices()
    assert old_store.unfinished() == []
    assert not [each for each in differences(old_store) if each.where == done.new]
    assert old_store.ensure_slices(NOW) == []
    late = reading_lines(old_store, TENANT, [(NOW_MS, {"current_a": 5.0}), rows[7]])
    stored, repeated = old_store.bulk(late)  # by the name that everybody knows
    assert stored.is_stored
    assert repeated.is_duplicate
    old_store.refresh()
    Builder(old_store, pace=Pace(share=1.0)).advance(NOW + timedelta(hours=3))
    telemetry = TenantTelemetry(TENANT, store=old_store)
    week = {"start": NOW - timedelta(days=2), "end": NOW + timedelta(minutes=1)}
    series = telemetry.series(CONNECTOR, ["current_a"], points=48, **week)
    assert sum(bucket.count for bucket in series.buckets) == 401
    assert max(bucket.values["current_a"].maximum for bucket in series.buckets) == 39.9
    again = Copy(old_store, done.new).run()
    assert (again.new, again.documents) == (f"{index}.3", 401)


def test_a_copy_that_fails_leaves_all_as_it_was(
    old_store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = old_store.reading_index("30d", NOW_MS)
    old_store.bulk(reading_lines(old_store, TENANT, [(NOW_MS, {"current_a": 1.0})]))
    before = old_store.indices()
    monkeypatch.setattr(Copy, "_write", lambda *_: None)  # it loses what it should copy

    with pytest.raises(StoreRefused, match="1 documents became 0"):
        Copy(old_store, index).run()

    assert old_store.indices() == before
    lines = reading_lines(old_store, TENANT, [(NOW_MS - 1, {"current_a": 2.0})])
    assert old_store.bulk(lines)[0].is_stored  # it takes writes again


def test_a_slice_keeps_its_shards(elasticsearch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TelemetryStore, "_shards_of", lambda *_: 3)
    store = TelemetryStore(prefix=f"{elasticsearch}shards-", open_days=1)
    store.prepare(NOW)
    try:
        index = store.reading_index("30d", NOW_MS)
        lines = b"".join(
            reading_lines(store, TENANT, [(NOW_MS, {"current_a": 1.0})], connector=f"c-{n}")
            for n in range(40)
        )
        store.bulk(lines)

        done = Copy(store, index).run()

        held = store.client.indices.get_settings(index=done.new, flat_settings=True)[done.new]
        assert held["settings"]["index.number_of_shards"] == "3"
        assert done.documents == 40
        assert all(result.is_duplicate for result in store.bulk(lines))
        assert differences(store) == []
    finally:
        forget(store)


def test_states_are_written_anew_while_they_change(
    elasticsearch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is changed and one deleted after it was copied; and a field is of another type."""
    store = TelemetryStore(prefix=f"{elasticsearch}anew-", open_days=1)
    older = {**STATE.mappings, "properties": {**STATE.mappings["properties"]}}
    older["properties"]["margin_k"] = {"type": "long"}
    del older["properties"]["change"]
    plain = READINGS.mappings
    with monkeypatch.context() as patch:
        patch.setattr(
            type(STATE),
            "mappings",
            property(lambda kind: older if kind is STATE else _shape(kind, plain)),
        )
        store.prepare(NOW)
    index = f"{store.prefix}{STATE_INDEX}"
    write = Copy._write
    rows = [{"tenant": TENANT, "connector": f"c-{n}", "margin_k": 1} for n in range(4)]

    def meanwhile(self: Copy, page: list[dict[str, Any]]) -> None:
        write(self, page)
        monkeypatch.setattr(Copy, "_write", write)
        store.update_states([{**rows[0], "open_alarms": 7}])
        store.delete_states(TENANT, ["c-1"])
        store.refresh()
        assert TenantTelemetry(TENANT, store=store).states().total == 3

    try:
        store.update_states(rows)
        assert store.prepare(NOW) == []  # it teaches what it can, and stands what it can't
        (different,) = differences(store)
        assert (different.where, different.what) == (index, "margin_k")
        monkeypatch.setattr(Copy, "_write", meanwhile)

        done = Copy(store, index).run()

        assert done.new == f"{index}.2"
        assert differences(store) == []
        assert store.prepare(NOW) == []
        assert store.update_states([{**rows[2], "margin_k": 1.5}])[0].is_stored
        store.refresh()
        ours = TenantTelemetry(TENANT, store=store)
        assert {(each.connector, each.margin_k) for each in ours.states().states} == {
            ("c-0", 1.0), ("c-2", 1.5), ("c-3", 1.0),
        }  # fmt: skip
        assert ours.latest(["c-0"])["c-0"].open_alarms == 7
    finally:
        forget(store)


def test_who_writes_a_state_while_its_index_is_shut_tries_again(store: TelemetryStore) -> None:
    index = f"{store.prefix}{STATE_INDEX}"
    cluster.block_writes(store.client, index)
    try:
        with pytest.raises(StoreUnavailable):
            store.update_states([{"tenant": TENANT, "connector": CONNECTOR}])
    finally:
        cluster.unblock_writes(store.client, index)


def test_a_killed_copy_is_no_hindrance_and_goes_with_its_tenant(
    elasticsearch: str, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "LEASES_S", 0.0)  # what is left in segments is another test's
    store = TelemetryStore(prefix=f"{elasticsearch}killed-", open_days=1)
    store.prepare(NOW)
    index = store.reading_index("30d", NOW_MS)
    store.bulk(reading_lines(store, ours, [(NOW_MS, {"current_a": 1.0})]))
    try:
        _killed_before_the_switch(store, index)
        assert store.unfinished() == [f"{index}.2"]
        assert Copy(store, index).run().documents == 1
        _killed_before_the_switch(store, f"{index}.2")

        erasing.erase(store, ours, now=NOW)

        assert store.unfinished() == []
        assert store.client.count(index=f"{store.prefix}readings-*")["count"] == 0
    finally:
        forget(store)


def test_a_template_of_another_version_or_with_other_settings_is_told(
    elasticsearch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TelemetryStore(prefix=f"{elasticsearch}older-", open_days=1)
    with monkeypatch.context() as patch:
        patch.setattr(documents, "VERSION", documents.VERSION - 1)
        patch.setitem(READINGS.settings, "index.refresh_interval", "9s")
        store.prepare(NOW)
    try:
        found = {(each.where, each.what): each for each in differences(store)}

        template = f"template {store.prefix}readings"
        assert found.pop((template, "index.refresh_interval")).found == "9s"
        assert {what for _where, what in found} == {"version"}
        assert len(found) == len(KINDS)
        assert not any(each.needs_rewriting for each in found.values())
        store.prepare(NOW)
        assert differences(store) == []
    finally:
        forget(store)


def test_what_becomes_of_unknown_fields_is_told_and_put_right(old_store: TelemetryStore) -> None:
    """The readings index is strict, a state's last values have no template, the account guesses."""
    old_store.prepare(NOW)
    mend(old_store)
    put = old_store.client.indices.put_mapping
    index = old_store.reading_index("30d", NOW_MS)
    state, account = f"{old_store.prefix}{STATE_INDEX}", old_store.account_index(NOW_MS)
    put(index=index, dynamic="strict", dynamic_templates=[])
    put(index=state, dynamic_templates=[])
    put(index=account, properties={"quarantined": {"type": "object", "dynamic": "strict"}})
    lines = reading_lines(old_store, TENANT, [(NOW_MS, {"x_own": 1.0})])
    assert not old_store.bulk(lines)[0].is_stored

    found = {(each.where, each.what): each for each in differences(old_store)}

    assert (found[index, "dynamic"].wanted, found[index, "dynamic"].found) == ("true", "strict")
    told = [(index, "dynamic"), (index, "dynamic_templates"), (state, "dynamic_templates"),
            (account, "quarantined.dynamic")]  # fmt: skip
    assert not any(found[each].needs_rewriting for each in told)
    mend(old_store)
    assert {each.what for each in differences(old_store)} == {"current_a"}
    assert old_store.bulk(lines)[0].is_stored


def test_indices_that_are_missing_are_told(old_store: TelemetryStore) -> None:
    gone = [old_store.reading_index("30d", NOW_MS), f"{old_store.prefix}{STATE_INDEX}"]
    assert missing(old_store, NOW) == []
    cluster.delete(old_store.client, gone)

    found = missing(old_store, NOW)

    assert {each.where for each in found} == set(gone)
    assert {(each.what, each.found) for each in found} == {("itself", None)}
    old_store.prepare(NOW)
    assert missing(old_store, NOW) == []


def test_a_higher_version_goes_on_with_the_same_states_and_events() -> None:
    source = Path(documents.__file__).read_text()
    assert f"VERSION = {VERSION}\n" in source
    later: dict[str, Any] = {"__name__": "documents_of_a_later_version"}

    exec(source.replace(f"VERSION = {VERSION}\n", f"VERSION = {VERSION + 1}\n"), later)

    assert later["VERSION"] == VERSION + 1
    for name in ("STATE_INDEX", "EVENTS_INDEX", "MARKS_INDEX"):
        assert later[name] == getattr(documents, name)


def test_an_account_that_has_refused_something_is_as_wanted(
    store: TelemetryStore, ours: str
) -> None:
    store.write_ledger([LedgerEntry(ours, 7, NOW_MS, 0, 0, {"out_of_range": 1})])

    assert [each for each in differences(store) if each.what == "quarantined"] == []


def _killed_before_the_switch(store: TelemetryStore, index: str) -> None:
    copy = Copy(store, index)
    copy._make()
    copy._copy_what_is_new()
    cluster.block_writes(store.client, index)


@pytest.mark.parametrize("index", ["*", "state-1", "nothing", "readings-30d-19700101"])
def test_only_a_slice_that_exists_can_be_written_anew(store: TelemetryStore, index: str) -> None:
    with pytest.raises(WrongQuestion):
        Copy(store, index)


def test_the_command_says_that_nothing_has_changed(elasticsearch: str) -> None:
    with pytest.raises(CommandError, match="nothing has changed"):
        call_command("stores", "--rewrite", "readings-nothing")
