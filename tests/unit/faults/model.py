"""Acquisition in a hundred lines: a broker, a store, a ledger, a worker that dies at any step.

The right model is what the product promises; each mutant breaks one promise the way that code
breaks it. The checker has to tell them apart, or its word about the product is worth nothing.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from apps.telemetry.answers import AccountLine
from tests.faults.checker import History, Key, Outcome, Refused, value_of

BATCH = 5
MESSAGES = 60
CONNECTORS = (("kunlun", "a"), ("kunlun", "b"), ("aurora", "a"))
TENANTS = ("kunlun", "aurora")
FORGETFUL = "answer without the tenant's filter"
MUTANTS = (
    "acknowledge before the store has answered",
    "acknowledge before the ledger, and never look back",
    "drop what is answered with 429",
    "drop what can't be decoded",
    "make an id for each delivery",
    "acknowledge by position after a reconnect",
    "count duplicates as stored",
    "enter a batch again under a new number",
    "let the second value stand",
    "store half a batch and acknowledge all of it",
    "write under another tenant",
    "give a neighbour's value",
    "quarantine what is good",
    "hold all that comes in memory",
    FORGETFUL,
)


Said = Key | Refused
"""What a message says: a reading, or rubbish."""


class Killed(Exception):
    """The worker is gone."""


@dataclass
class World:
    """Everything there is. `queue`: what the broker holds, in order; `window`: sent to the worker,
    by packet id of the connection."""

    chance: random.Random
    mutant: str
    history: History
    queue: list[tuple[int, Said]] = field(default_factory=list)
    store: dict[object, tuple[Key, float, int]] = field(default_factory=dict)
    quarantine: dict[object, tuple[Refused, int]] = field(default_factory=dict)
    ledger: dict[int, Counter[tuple[str, str]]] = field(default_factory=dict)
    batches: int = 0
    memory_mb: float = 120.0

    def step(self) -> None:
        """Between any two steps the worker may die."""
        if self.chance.random() < 0.05:
            raise Killed


def play(seed: int, mutant: str = "") -> tuple[History, Outcome]:
    """A run with kills at random; at its end all is healed and drained."""
    chance = random.Random(seed)
    world = World(chance, mutant, History(seed))
    for number in range(MESSAGES):
        _device_sends(world, number)
        if number % BATCH == BATCH - 1:
            _live_through(world)
    while world.queue:
        _live_through(world)
    return world.history, _outcome(world)


def _device_sends(world: World, number: int) -> None:
    tenant, connector = CONNECTORS[number % len(CONNECTORS)]
    key: Key = (tenant, connector, 1_000 + number)
    said: Said = key
    if world.chance.random() < 0.1:
        said = (tenant, f"rubbish {number}")
        world.history.rubbish.add(said)
    else:
        world.history.sent.add(key)
        world.history.acknowledged.add(key)
    world.queue.append((number, said))
    if world.chance.random() < 0.15:  # the device had no answer, and sends again
        world.queue.append((number + 10_000, said))


def _live_through(world: World) -> None:
    try:
        for _ in range(3):
            _take_in(world)
    except Killed:
        if world.mutant != MUTANTS[1]:
            _reconcile(world)


def _take_in(world: World) -> None:
    batch = world.queue[:BATCH]
    if not batch:
        return
    world.batches += 1
    number = world.batches
    if world.mutant == MUTANTS[13]:
        world.memory_mb += 30
    if world.mutant == MUTANTS[0]:
        _acknowledge(world, batch)
    world.step()
    tally: Counter[tuple[str, str]] = Counter()
    for message in _what_it_stores(world, batch):
        _keep(world, number, message, tally)
    world.step()
    if world.mutant == MUTANTS[1]:
        _acknowledge(world, batch)
        world.step()
    world.ledger[number] = tally
    if world.mutant == MUTANTS[7] and world.chance.random() < 0.2:
        world.batches += 1
        world.ledger[world.batches] = tally
    world.step()
    if world.mutant not in MUTANTS[:2]:
        _acknowledge(world, batch)


def _what_it_stores(world: World, batch: list[tuple[int, Said]]) -> Iterator[tuple[int, Said]]:
    for position, message in enumerate(batch):
        busy = world.chance.random() < 0.1
        if busy and world.mutant == MUTANTS[2]:
            continue
        if position > BATCH // 2 and world.mutant == MUTANTS[9] and world.chance.random() < 0.1:
            continue
        yield message


def _keep(
    world: World, number: int, message: tuple[int, Said], tally: Counter[tuple[str, str]]
) -> None:
    packet, said = message
    odd = world.chance.random() < 0.05
    if len(said) == 2:
        if world.mutant != MUTANTS[3]:
            tally[said[0], "quarantined"] += 1
            world.quarantine[number, packet] = (said, number)
        return
    if world.mutant == MUTANTS[12] and odd:
        tally[said[0], "quarantined"] += 1
        world.quarantine[number, packet] = ((said[0], f"good {said}"), number)
        return
    key = ("aurora", *said[1:]) if world.mutant == MUTANTS[10] and odd else said
    shifted = (key[0], key[1], key[2] + 1) if world.mutant == MUTANTS[11] and odd else key
    identity = (number, packet) if world.mutant == MUTANTS[4] else key
    known = identity in world.store
    if known and world.mutant == MUTANTS[8]:
        world.store[identity] = (key, -1.0, number)
    if not known:
        world.store[identity] = (key, value_of(shifted), number)
    counts_as_new = not known or world.mutant == MUTANTS[6]
    tally[key[0], "stored" if counts_as_new else "duplicate"] += 1


def _acknowledge(world: World, batch: list[tuple[int, Said]]) -> None:
    if world.mutant == MUTANTS[5] and world.chance.random() < 0.1:
        # The connection was lost meanwhile: the numbers mean what comes next.
        world.queue = batch + world.queue[2 * len(batch) :]
        return
    done = {packet for packet, _ in batch}
    world.queue = [message for message in world.queue if message[0] not in done]


def _reconcile(world: World) -> None:
    """The next life enters what is held and was not entered."""
    for number in range(1, world.batches + 1):
        if number in world.ledger:
            continue
        tally: Counter[tuple[str, str]] = Counter()
        for key, _, batch in world.store.values():
            tally[key[0], "stored"] += batch == number
        for (tenant, _), batch in world.quarantine.values():
            tally[tenant, "quarantined"] += batch == number
        world.ledger[number] = tally


def _through(world: World, door: str) -> tuple[list[tuple[Key, float]], list[Refused]]:
    """What a tenant is shown of the store that all share: readings with their value, rubbish."""
    forgets = world.mutant == FORGETFUL and world.chance.random() < 0.2
    return (
        [(key, value) for key, value, _ in world.store.values() if forgets or key[0] == door],
        [said for said, _ in world.quarantine.values() if forgets or said[0] == door],
    )


def _outcome(world: World) -> Outcome:
    entered: Counter[tuple[str, str]] = Counter()
    for tally in world.ledger.values():
        entered += tally
    held = Counter(key[0] for key, _, _ in world.store.values())
    refused = Counter(tenant for (tenant, _), _ in world.quarantine.values())
    lines = [
        AccountLine(
            tenant=tenant,
            received=sum(entered[tenant, what] for what in ("stored", "duplicate", "quarantined")),
            stored=entered[tenant, "stored"],
            duplicate=entered[tenant, "duplicate"],
            quarantined={"undecodable": entered[tenant, "quarantined"]},
            held_readings=held[tenant],
            held_quarantined={"undecodable": refused[tenant]},
        )
        for tenant in TENANTS
    ]
    seen = [(door, *_through(world, door)) for door in TENANTS]
    return Outcome(
        readings=[(door, *key[1:], value) for door, found, _ in seen for key, value in found],
        quarantined=[(door, text) for door, _, found in seen for _, text in found],
        lines=lines,
        memory_mb=world.memory_mb,
    )
