"""The hourly account: what it looks at, who is told, and what pages say when nobody looks."""

from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.test import Client
from pytest_django.fixtures import Settings

from apps.accounts.models import User
from apps.telemetry import board
from apps.telemetry.answers import LedgerEntry
from apps.telemetry.board import AccountReport
from apps.telemetry.documents import ACCOUNT
from apps.telemetry.slices import from_ms, slice_of, to_ms
from apps.telemetry.store import the_store
from tests.outside import MailServer, free_port
from workers.upkeep import accounts, ledgers

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR_AGO_MS = to_ms(NOW - timedelta(hours=1))
pytestmark = pytest.mark.usefixtures("db", "redis_log")


@pytest.fixture(autouse=True)
def _asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "PATIENCE_S", 0.0)


def lose(tenant: str, number: int = 3, *, batch: int = 7) -> None:
    """A ledger entry of which the store holds nothing."""
    the_store().write_ledger([LedgerEntry(tenant, batch, HOUR_AGO_MS, number, 0, {})])


def find(tenant: str, number: int = 3, *, batch: int = 7) -> None:
    """Put right, by an entry that says so."""
    the_store().write_ledger([LedgerEntry(tenant, batch, HOUR_AGO_MS, 0, number, {})])


def put(at: datetime, *, closed: bool = True, start: datetime | None = None) -> AccountReport:
    """What a run before left behind."""
    report = AccountReport(
        closed=closed,
        apart=0 if closed else 3,
        from_ms=to_ms(start or at - timedelta(hours=25)),
        to_ms=to_ms(at - timedelta(minutes=2)),
        at_ms=to_ms(at),
        received=20,
        open={} if closed else {"kunlun": 3},
    )
    board.put_account(report)
    return report


# --- what it looks at -----------------------------------------------------------------------------


def test_it_looks_at_the_last_day() -> None:
    start, end = accounts.stretch(put(NOW - timedelta(hours=1)), now=NOW)

    assert (start, end) == (NOW - timedelta(hours=25, minutes=2), NOW - timedelta(minutes=2))
    assert accounts.stretch(None, now=NOW) == (start, end)


def test_days_on_which_nobody_looked_are_looked_at_later() -> None:
    before = put(NOW - timedelta(days=4))

    assert accounts.stretch(before, now=NOW)[0] == before.end


def test_what_was_open_is_looked_at_until_it_closes_or_expires() -> None:
    before = put(NOW - timedelta(hours=1), closed=False, start=NOW - timedelta(days=6))
    assert accounts.stretch(before, now=NOW)[0] == before.start

    before = put(NOW - timedelta(hours=1), closed=False, start=NOW - timedelta(days=80))
    assert accounts.stretch(before, now=NOW)[0] == NOW - accounts.HELD


def test_a_loss_of_three_days_ago_stays_open(empty_elasticsearch: str) -> None:
    put(NOW - timedelta(hours=1), closed=False, start=NOW - timedelta(days=4))
    arrived_ms = to_ms(NOW - timedelta(days=3))
    the_store().ensure_slices(from_ms(arrived_ms))
    the_store().write_ledger([LedgerEntry("kunlun", 8, arrived_ms, 3, 0, {})])

    accounts.close_account()

    report = board.last_account()
    assert report is not None
    assert report.open == {"kunlun": 3}


def test_the_old_ledger_is_put_together_and_the_account_stays_closed(
    empty_elasticsearch: str,
) -> None:
    arrived_ms = to_ms(NOW - timedelta(days=60))
    the_store()._create(ACCOUNT, slice_of("account", 7, arrived_ms).name, {})
    entries = [LedgerEntry("kunlun", 20 + n, arrived_ms + n, 0, 1, {}) for n in range(5)]
    the_store().write_ledger(entries)

    ledgers.put_ledger_together()

    the_store().refresh(ACCOUNT)
    index = the_store().account_index(arrived_ms)
    assert int(the_store().client.count(index=index)["count"]) in (1, 2)  # an hour, or at its edge
    (line,) = the_store().account(0, to_ms(NOW))
    assert (line.received, line.duplicate, line.is_closed) == (5, 5, True)


# --- who is told ----------------------------------------------------------------------------------


def subjects(mails: MailServer) -> list[str]:
    return [str(mail["subject"]) for mail in mails.mails]


def test_operators_are_told_once_that_it_is_open_and_once_that_it_closed(
    empty_elasticsearch: str, operator: User, mails: MailServer
) -> None:
    lose("kunlun")
    accounts.close_account()
    accounts.close_account()

    assert subjects(mails) == ["The account is open: 3 readings are unaccounted for"]
    (mail,) = mails.mails
    assert mail["to"] == operator.email
    assert mail["auto-submitted"] == "auto-generated"
    text = mail.get_content()
    assert "kunlun 3" in text
    assert "./ohmwatch account --from " in text

    find("kunlun")
    accounts.close_account()
    accounts.close_account()

    assert subjects(mails)[1:] == ["The account is closed again"]


def test_another_tenant_is_told_of_as_well(
    empty_elasticsearch: str, operator: User, mails: MailServer
) -> None:
    lose("kunlun")
    accounts.close_account()
    lose("aurora", 2, batch=8)
    accounts.close_account()
    find("kunlun")
    accounts.close_account()
    find("aurora", 2, batch=8)
    accounts.close_account()

    assert [subject.split(":")[0] for subject in subjects(mails)] == [
        "The account is open",
        "The account is open",
        "The account is closed again",
    ]


def test_where_no_mail_got_out_the_next_run_tells(
    empty_elasticsearch: str, operator: User, mails: MailServer, settings: Settings
) -> None:
    lose("kunlun")
    port, settings.EMAIL_PORT = settings.EMAIL_PORT, free_port()
    accounts.close_account()
    report = board.last_account()
    assert report is not None
    assert (report.open, report.told) == ({"kunlun": 3}, [])

    settings.EMAIL_PORT = port
    accounts.close_account()

    assert len(mails.mails) == 1


def test_each_operator_is_told_in_their_language(
    empty_elasticsearch: str, operator: User, mails: MailServer
) -> None:
    User.objects.filter(pk=operator.pk).update(language="zh-hans")
    User.objects.create_user("gone", "gone@ohmwatch.example", role="operator", is_active=False)
    User.objects.create_user("mute", "", role="operator")
    lose("kunlun")

    accounts.close_account()

    assert subjects(mails) == ["账目未平：3 条读数去向不明"]


# --- what pages say -------------------------------------------------------------------------------

OVERDUE = "The account has not been checked for more than two hours."


def pages(client: Client, operator: User, language: str = "en") -> list[str]:
    client.force_login(operator)
    headers = {"host": "localhost", "accept-language": language}
    return [client.get(page, headers=headers).text for page in ("/", "/readiness/")]


def test_an_account_of_an_hour_ago_is_shown_with_its_age(client: Client, operator: User) -> None:
    put(datetime.now(UTC) - timedelta(hours=1, minutes=50))

    tenants, readiness = pages(client, operator)

    assert OVERDUE not in tenants + readiness
    assert "The account is closed: all of 20 readings" in readiness
    assert 'data-when="ago"' in readiness


def test_an_old_account_is_no_good_news(client: Client, operator: User) -> None:
    put(datetime.now(UTC) - timedelta(hours=2, minutes=1))

    for text in pages(client, operator):
        assert OVERDUE in text
        assert "Last check:" in text
        assert "The account is closed:" not in text


def test_an_old_open_account_says_both(client: Client, operator: User) -> None:
    put(datetime.now(UTC) - timedelta(hours=9), closed=False)

    for text in pages(client, operator):
        assert OVERDUE in text
        assert "The account is open: 3 readings" in text


def test_it_says_so_in_chinese(client: Client, operator: User) -> None:
    User.objects.filter(pk=operator.pk).update(language="zh-hans")
    operator.refresh_from_db()
    put(datetime.now(UTC) - timedelta(days=1))

    assert "账目已超过两小时未核对" in pages(client, operator, "zh-hans")[1]


def test_a_board_of_an_older_version_is_read(redis_log: redis.Redis) -> None:
    redis_log.set(
        board.REPORT_KEY,
        '{"closed":true,"apart":0,"from_ms":1,"to_ms":2,"at_ms":3,"received":4,"open":{}}',
    )

    report = board.last_account()

    assert report is not None
    assert report.told == []
