"""`./ohmwatch slots N` on the running product: one joins, takes its share, and is given up."""

import json
from dataclasses import replace

import pytest

from deploy.stack import slots, supervisor
from tests.journeys.product import Product
from tests.workers import until


@pytest.mark.timeout(200)
def test_a_slot_joins_and_is_given_up_and_the_account_closes(product: Product) -> None:
    stack = product.stack
    more = replace(stack, shape=replace(stack.shape, slots=stack.shape.slots + 1))
    newest = stack.shape.slots

    slots.change(stack, newest + 1)
    try:
        until(lambda: _last_batch(product, newest) > 0, 60, "the new slot has taken nothing")
    finally:
        slots.change(more, newest)

    assert not _running(product)[f"acquisition-{newest}"]
    told = product.manage("account", "--wait", "30", "--json").stdout
    assert json.loads(told[told.index("{") :])["closed"]


def _running(product: Product) -> dict[str, bool]:
    """Of each program that there may be, whether it runs."""
    return {each.name: each.is_running for each in supervisor.every_state(product.stack)}


def _last_batch(product: Product, slot: int) -> int:
    """The slot's last batch by the ledger; 0 where it has none."""
    code = (
        "import time\n"
        "from apps.telemetry.store import the_store\n"
        "from workers.acquisition.batches import first_number\n"
        f"low = first_number({slot}, 0)\n"
        f"high = first_number({slot} + 1, 0)\n"
        "print('taken', the_store().last_ledger_batch(low, high) or 0)\n"
    )
    told = product.manage("shell", "-c", code).stdout
    return int(told.rpartition("taken")[2])
