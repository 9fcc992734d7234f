"""The page that customers read says what the code does."""

import re
from collections.abc import Iterator
from pathlib import Path

from ohmwatch.codecs.json import decode
from ohmwatch.readings import MESSAGE_BYTES_LIMIT, QUANTITIES, READINGS_LIMIT
from ohmwatch.refusals import Reason

PAGE = (Path(__file__).parents[3] / "docs/devices/readings.md").read_text()


def table(head: str) -> Iterator[list[str]]:
    """The cells of the table with that first column, row by row."""
    lines = PAGE.partition(f"| {head} |")[2].splitlines()[2:]
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip().strip("`") for cell in line.split("|")[1:-1]]


def test_each_quantity_with_its_unit_and_range() -> None:
    assert list(table("quantity")) == [
        [one.name, one.unit, f"{one.low:.0f} … {one.high:.0f}", str(one.kind)]
        for one in QUANTITIES.values()
    ]


def test_each_reason() -> None:
    assert [row[0] for row in table("reason")] == [str(reason) for reason in Reason]


def test_the_examples_are_readings() -> None:
    examples = re.findall(r"```json\n(.*?)\n```", PAGE)
    counts = [len(decode(example.encode()).columns) for example in examples]
    assert counts == [1, 2, 3]


def test_the_limits() -> None:
    assert f"at most {MESSAGE_BYTES_LIMIT // 1024} KiB and {READINGS_LIMIT} readings" in PAGE
