"""Events beyond memory come back in the order in which sorting them all would bring them."""

from pathlib import Path
from random import Random

import pytest

from ohmwatch.backtest.ledger import Ledger
from ohmwatch.backtest.run import AlarmEvent, in_order_of_arrival
from ohmwatch.findings import Severity


def events(number: int) -> list[AlarmEvent]:
    """Some arrive at one moment, of one connector: then what came first stays first."""
    chance = Random(7)
    return [
        AlarmEvent(
            connector=f"c{chance.randrange(3)}",
            time_ms=chance.randrange(40),
            arrived_ms=chance.randrange(40),
            severity=Severity.WARNING,
            condition="overtemperature",
            pole="pos",
            event="opened",
            resistance_uohm=None,
            margin_k=4.5,
            limit_from_ms=None,
            limit_to_ms=None,
            evidence={"number": float(at), "note": "é"},
        )
        for at in range(number)
    ]


@pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 3_000])
def test_however_many_they_are(tmp_path: Path, number: int) -> None:
    told = events(number)
    with Ledger(tmp_path, held=100) as ledger:
        for event in told:
            ledger.add(event)
        expected = sorted(told, key=in_order_of_arrival)
        assert list(ledger) == expected
        both = list(zip(ledger, ledger, strict=True))
        assert both == [(each, each) for each in expected], "two go through it at once"
        assert len(ledger._held) < 100
    assert list(tmp_path.iterdir()) == []
