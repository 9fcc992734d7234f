"""A visit to a partition: take it, read on in its log, judge, commit, tell.

Who comes for one partition takes along others that it holds and that are due: what a visit costs
whatever it finds is paid once for all of them (decision 0010). Each keeps its own lease, fencing
number, position and checkpoint; where one of them is lost, all are given up, and judged again from
their checkpoints.

What a killed worker leaves behind: a lease that runs out, a checkpoint, and a log that was
trimmed no further than the checkpoint; whoever comes next goes on from there and states the same
findings.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

import numpy as np
import structlog
from django.db import transaction
from django_tenants.utils import schema_context

from apps.alarms.operations import apply_findings
from apps.partitions import arrears, metrics, operations
from apps.partitions.lease import Lease
from apps.partitions.log import START, Entry, Page, Position, Stack, is_behind
from apps.partitions.queries import positions
from apps.partitions.snapshots import rewrite
from apps.partitions.visits import Arrival, Seat, come, go_all, join
from apps.partitions.wakeups import LATEST_MS, REORDER_WINDOW_MS, SOONEST_MS
from apps.warning.shadows import note_findings
from ohmwatch.detector import Batch, Flags
from ohmwatch.findings import Finding
from ohmwatch.reorder import in_order
from ohmwatch.watch import Judgement, Watch, observe
from workers.detection import faults
from workers.detection.desk import Desk
from workers.detection.gathering import as_batch, key_of
from workers.detection.holding import Holding, Owners
from workers.detection.listening import LAPSE_EVERY_MS
from workers.detection.replay import missed
from workers.detection.rulebooks import Lineup

logger = structlog.get_logger(__name__)

ENTRIES_A_STEP = 64
CHECKPOINT_EVERY_S = 5.0
"""Without findings. What lies in between is judged again after a crash, to the same end."""

VISIT_LIMIT_S = 2.0
"""Then another partition has its turn; this one asks for the next itself."""

PARTY = 32
"""Partitions that are visited together at most: their leases have to outlast a page of each."""

EARLY_S = 0.05
"""So much before it is due a partition is taken along: it is not worth a visit of its own."""

VISITS_SHARE = 0.5
"""Of a process's time, what visits are spread over: the rest is room for what comes unevenly."""

SETTLE_MS = 2 * REORDER_WINDOW_MS
"""After a flush, how long what was appended before it may take to be found in Elasticsearch."""


Also = Callable[[datetime], None]
"""What is written beside a checkpoint, given the moment of the commit."""


class Outcome(StrEnum):
    """How a visit ended."""

    JUDGED = "judged"
    TAKEN = "taken"  # by another worker, who sees what we would have seen
    FENCED = "fenced"  # another worker took it over while we had it


class LeaseLost(Exception):
    """Our lease ran out while we worked: somebody else may hold the partition."""


def visit(partition: int, *, desk: Desk) -> Outcome:
    """Judges what lies ripe in a partition's log. Raises what the stores raise."""
    desk.directory.refresh_if_changed()
    desk.admit_plugins()
    lease = desk.lease(partition)
    with metrics.PASS_SECONDS.time():
        found = come(lease)
        outcome = _hold_and_work(found, lease, desk) if found.is_taken else Outcome.TAKEN
    metrics.PASSES.labels(outcome).inc()
    desk.board.post()
    return outcome


def is_early(partition: int, *, desk: Desk) -> bool:
    """Whether a wake-up can be left: the partition was judged in company since, and another is due
    that we have asked for."""
    holding = desk.holdings.get(partition)
    return holding is not None and holding.due_at > time.monotonic() + EARLY_S


def forget(partition: int, slug: str, *, desk: Desk) -> int | None:
    """Drops what the partition's checkpoint, its snapshots and log hold of an erased tenant.

    How many connectors those were; None while another worker holds the partition, or while there
    is something to judge yet: it may be the tenant's.
    """
    desk.directory.refresh_if_changed()
    lease = desk.lease(partition)
    found = come(lease)
    if not found.is_taken:
        return None
    try:
        holding = _hold(found, lease, desk)
        _work([_Sitting(lease, holding)], found, desk)
        last = desk.log.last_entry(partition)
        if last is not None and is_behind(holding.position.entry, last):
            return None
        left = holding.watch.leave(lambda name: key_of(name)[0] == slug)
        if left or holding.is_dirty:
            _commit(holding, desk)
        rewrite(partition, lambda state: _without(slug, state, desk))
        arrears.forget_of(partition, slug)
    except BaseException:
        desk.holdings.pop(partition, None)
        raise
    finally:
        lease.release()
    logger.info("tenant_forgotten", partition=partition, tenant=slug, connectors=left)
    return left


def _without(slug: str, state: bytes, desk: Desk) -> bytes:
    watch = Watch.load(state, desk.panel.detectors, keep_absent=True)
    watch.leave(lambda name: key_of(name)[0] == slug)
    return watch.dump()


def hold(partition: int, work: Callable[[Holding], Also | None], *, desk: Desk) -> bool:
    """Takes a partition over for a moment, to change what is known of it.

    `work` changes the holding; what it answers is written in the transaction of the checkpoint.
    None: nothing is. False: another worker holds the partition, or its log is gone. Who held it
    goes on from the checkpoint. Raises Fenced.
    """
    lease = desk.lease(partition)
    found = come(lease)
    if not found.is_taken:
        return False
    try:
        # Who changes this has no plug-ins: what they know stays as it is.
        holding = _hold(found, lease, desk, keep_absent=True)
        if _log_is_gone(holding, found):
            return False
        also = work(holding)
        if also is not None:
            _renew(lease)
            _commit(holding, desk, also=also)
    finally:
        desk.holdings.pop(partition, None)
        lease.release()
        desk.log.wake(partition)
    return True


def wake_unread(*, desk: Desk) -> list[int]:
    """Wakes the partitions with something to judge or to commit; also where a wake-up was lost."""
    known, generation = positions(), desk.log.generation()
    waiting = [
        partition
        for partition in range(desk.log.partitions)
        if _needs_visit(partition, known.get(partition, Position()), generation, desk)
    ]
    for partition in waiting:
        desk.log.wake(partition)
    desk.board.post()
    desk.ear.listen(desk.now_ms())
    return waiting


def wake_for_the_clock(*, desk: Desk) -> list[int]:
    """Wakes every partition that was ever judged, also those for which nothing comes."""
    desk.ear.listen(desk.now_ms())
    known = sorted(positions())
    for partition in known:
        desk.log.wake(partition)
    return known


def _needs_visit(partition: int, committed: Position, generation: str, desk: Desk) -> bool:
    own = desk.holdings.get(partition)
    if own is not None and own.is_dirty:
        if _checkpoint_is_due(own, desk):
            return True
        committed = own.position
    last = desk.log.last_entry(partition)
    behind = last is not None and is_behind(committed.entry, last)
    return behind or committed.generation != generation


@dataclass(frozen=True, slots=True)
class _Sitting:
    """A partition at which we work: its lease is ours, and what it holds is in memory."""

    lease: Lease
    holding: Holding


def _hold_and_work(found: Arrival, lease: Lease, desk: Desk) -> Outcome:
    came_at = time.monotonic()
    company: list[_Sitting] = []
    try:
        holding = _hold(found, lease, desk)
        company = _company(holding, found, desk)
        party = [_Sitting(lease, holding), *company]
        _work(party, found, desk)
    except (operations.Fenced, LeaseLost) as error:
        logger.warning("partition_lost", partition=lease.partition, error=str(error))
        _give_up([lease, *(each.lease for each in company)], desk)
        for each in company:
            desk.log.wake(each.lease.partition)
        return Outcome.FENCED
    except BaseException:
        _give_up([lease, *(each.lease for each in company)], desk)
        raise
    desk.note_visit((time.monotonic() - came_at) / len(party))
    _leave(party, desk)
    return Outcome.JUDGED


def _company(own: Holding, found: Arrival, desk: Desk) -> list[_Sitting]:
    """Others that we held last and that are due, with something to judge; their leases are ours."""
    if _log_is_gone(own, found):
        return []
    now = time.monotonic()
    due = [
        each
        for each in desk.holdings.values()
        if each is not own
        and each.ripe_at <= now
        and each.due_at <= now + EARLY_S
        and each.position.generation == found.generation
    ]
    due = sorted(due, key=lambda each: each.ripe_at)[: PARTY - 1]
    seats = [Seat(desk.lease(each.partition), each.fencing, each.position.entry) for each in due]
    return [
        _Sitting(seat.lease, each)
        for each, seat, joined in zip(due, seats, join(seats, found.generation), strict=True)
        if joined
    ]


def _give_up(leases: Iterable[Lease], desk: Desk) -> None:
    """Memory may be ahead of the checkpoints now, with findings that nobody will write."""
    for lease in leases:
        desk.holdings.pop(lease.partition, None)
    for lease in leases:
        lease.release()


def _leave(party: Sequence[_Sitting], desk: Desk) -> None:
    """All are due again together: as soon as the first of them is."""
    now = time.monotonic()
    in_ms = next_visit_ms(
        ripe_in_ms=(min(each.holding.ripe_at for each in party) - now) * 1000,
        visit_s=desk.visit_s,
        partitions=len(desk.holdings),
    )
    leaving = [(each.lease, each.holding.position.entry) for each in party]
    for each, to_send in zip(party, go_all(leaving, wake_in_ms=in_ms), strict=True):
        each.holding.due_at = now + in_ms / 1000 if to_send else 0.0
        if to_send:
            desk.log.send(each.lease.partition, in_ms)


def next_visit_ms(*, ripe_in_ms: float, visit_s: float, partitions: int) -> int:
    """As soon as the next entry has waited the reorder window out. But a visit costs something
    whatever it finds: who holds many partitions, or is short of processor time, comes seldom and
    finds much, which costs half as much a reading and leaves acquisition more of the machine."""
    rest_ms = visit_s * 1000 * partitions / VISITS_SHARE
    return round(min(max(ripe_in_ms, rest_ms, SOONEST_MS), LATEST_MS))


def _hold(found: Arrival, lease: Lease, desk: Desk, *, keep_absent: bool = False) -> Holding:
    """The partition as we know it, if nobody had it since; else as its checkpoint says."""
    known = desk.holdings.get(lease.partition)
    if known is not None and found.holder == lease.mark(known.fencing):
        return known
    now = desk.clock()
    checkpoint = operations.take_over(partition=lease.partition, now=now)
    lease.sign(checkpoint.fencing)
    keep_absent = keep_absent or desk.agency.is_waiting
    holding = Holding.of(checkpoint, desk.panel.detectors, now=now, keep_absent=keep_absent)
    if holding.position.generation == found.generation:  # whoever wrote it may have died before
        _trim([holding], desk)
    desk.holdings[lease.partition] = holding
    return holding


def _work(party: Sequence[_Sitting], found: Arrival, desk: Desk) -> None:
    """A page of each; the one that was found, the first, is read on in as long as there is more."""
    own, holdings = party[0], [each.holding for each in party]
    if _log_is_gone(own.holding, found):
        _replay(own.holding, found.generation, own.lease, desk)
    until = time.monotonic() + VISIT_LIMIT_S
    with_more = _judge_next(holdings, desk)
    is_at_end = {each.partition for each in holdings} - with_more
    while own.holding.partition in with_more:
        _renew(own.lease)
        if time.monotonic() >= until:
            break
        with_more = _judge_next([own.holding], desk)
        if not with_more:
            is_at_end.add(own.holding.partition)
    for holding in holdings:
        if holding.partition in is_at_end:
            _look_at_the_clock(holding, desk)
    _checkpoint(
        [each for each in holdings if each.is_dirty and _checkpoint_is_due(each, desk)], desk
    )


def _checkpoint_is_due(holding: Holding, desk: Desk) -> bool:
    age_s = (desk.clock() - holding.committed_at).total_seconds()
    return bool(holding.findings or holding.in_shadow) or age_s >= CHECKPOINT_EVERY_S


def _renew(lease: Lease) -> None:
    if not lease.renew():
        raise LeaseLost(f"partition {lease.partition}")


# --- reading on -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reading:
    """Entries behind a position; the first `mature` have waited the reorder window out."""

    holding: Holding
    entries: list[Entry]
    mature: int
    more: bool


def _gather(readings: Sequence[_Reading]) -> tuple[Batch, Flags, Owners]:
    """All readings of the pages, which of them (bool[n]) are of mature entries, and whose the
    connectors are."""
    mature_ones = [entry for each in readings for entry in each.entries[: each.mature]]
    metrics.UNREADABLE.inc(sum(entry.stacks is None for entry in mature_ones))
    pages = [
        (_stacks(each.entries[: each.mature]), _stacks(each.entries[each.mature :]))
        for each in readings
    ]
    batch, counts = as_batch([[*mature, *unripe] for mature, unripe in pages])
    sizes = [sum(len(stack.time_ms) for stack in part) for page in pages for part in page]
    mature = np.repeat(np.tile([True, False], len(pages)), sizes)
    return batch, mature, Owners([each.holding for each in readings], counts)


def _stacks(entries: Sequence[Entry]) -> list[Stack]:
    return [stack for each in entries for stack in each.stacks or []]


def _read(holdings: Sequence[Holding], desk: Desk) -> list[_Reading]:
    places = [(each.partition, each.position.entry) for each in holdings]
    pages = desk.log.read_several(places, count=ENTRIES_A_STEP)
    return [_read_on(each, page, desk) for each, page in zip(holdings, pages, strict=True)]


def _read_on(holding: Holding, page: Page, desk: Desk) -> _Reading:
    """The page, or a larger one where nothing in it has waited the window out."""
    count = ENTRIES_A_STEP
    while True:
        entries = page.entries
        more = len(entries) == count
        seen_ms = entries[-1].stored_ms - 1 if more else page.now_ms
        mature = sum(each.stored_ms <= seen_ms - REORDER_WINDOW_MS for each in entries)
        if mature or not more:
            holding.ripe_at = time.monotonic() + _ripe_in_ms(page, mature) / 1000
            return _Reading(holding, entries, mature, more)
        count *= 2
        page = desk.log.read(holding.partition, holding.position.entry, count=count)


def _ripe_in_ms(page: Page, mature: int) -> int:
    """When the first unripe entry is due; where there is none, one that comes now."""
    unripe = page.entries[mature:]
    waited_ms = page.now_ms - unripe[0].stored_ms if unripe else 0
    return REORDER_WINDOW_MS - waited_ms + 1


def _judge_next(holdings: Sequence[Holding], desk: Desk) -> set[int]:
    """Judges a page of each log; the partitions where another one lies behind it."""
    pages = [each for each in _read(holdings, desk) if each.mature]
    if not pages:
        return set()
    batch, mature, owners = _gather(pages)
    choice = in_order(batch, mature=mature, window_ms=REORDER_WINDOW_MS)
    metrics.LATE.inc(owners.count_late(batch, mature, choice.released))
    for page in pages:
        holding = page.holding
        if holding.out_of_reach:
            desk.count_late("readings_out_of_reach", holding.out_of_reach)
            holding.out_of_reach = 0
        entry = page.entries[page.mature - 1].id
        holding.position = replace(holding.position, entry=entry)
        holding.is_dirty = True
    _judge(batch.rows(choice.released), owners, desk)
    return {page.holding.partition for page in pages if page.more}


def _judge(batch: Batch, owners: Owners, desk: Desk) -> None:
    """Shows readings to the detectors; what they state is committed at once, with a checkpoint."""
    ratings = desk.ratings(batch.connectors)
    lineup = desk.rulebooks.lineup(batch.connectors)
    judgement = observe(
        owners.watches(), batch, ratings, guard=desk.panel.guard, posts=lineup.posts
    )
    faults.point("after_detectors")
    _take_in(judgement, lineup, owners, batch.connectors, desk)
    now = desk.clock()
    _note_lag(judgement.judged, owners, now)
    for holding in owners.holdings:
        if holding.findings or holding.in_shadow:
            _commit(holding, desk)
    desk.board.note(
        judgement.judged,
        ratings,
        judged_ms=int(now.timestamp() * 1000),
        known=judgement.known,
    )


def _note_lag(judged: Batch, owners: Owners, now: datetime) -> None:
    metrics.JUDGED.inc(len(judged))
    edges = np.searchsorted(judged.connector, np.cumsum([0, *owners.counts])).tolist()
    for holding, (start, end) in zip(owners.holdings, pairwise(edges), strict=True):
        if start < end:
            lag_s = now.timestamp() - float(judged.arrived_ms[start:end].max()) / 1000
            metrics.LAG_SECONDS.labels(holding.partition).set(lag_s)


def _take_in(
    judgement: Judgement, lineup: Lineup, owners: Owners, connectors: Sequence[str], desk: Desk
) -> None:
    stated, in_shadow = lineup.stated(judgement), lineup.in_shadow(judgement)
    if stated or in_shadow:
        owner = dict(zip(connectors, owners.each(), strict=True))
        for finding in stated:
            owner[finding.connector].findings.append(finding)
        for finding in in_shadow:
            owner[finding.connector].in_shadow.append(finding)
    for name, error in judgement.failed.items():
        # Without the rule behind it: a name for each would never end.
        metrics.FAILURES.labels(name.partition("@")[0], type(error).__name__).inc()
        logger.error("detector_failed", detector=name, error=repr(error))
        desk.note_failure(name, error)


def _look_at_the_clock(holding: Holding, desk: Desk) -> None:
    """Shows the detectors who has fallen silent, where all that came is judged.

    While something is in the way of what devices send, nobody is silent.
    """
    now_ms = desk.now_ms()
    listening_ms = desk.ear.listen(now_ms)
    if listening_ms is None or abs(now_ms - holding.lapsed_ms) < LAPSE_EVERY_MS:
        return
    holding.lapsed_ms = now_ms
    quiet = [
        name
        for name in holding.watch.connectors
        if now_ms - holding.watch.clock_ms(name) >= LAPSE_EVERY_MS
    ]
    silence = desk.ear.silence(quiet, listening_ms=listening_ms, now_ms=now_ms)
    if not silence.connectors:
        return
    ratings = desk.ratings(silence.connectors)
    lineup = desk.rulebooks.lineup(silence.connectors)
    judgement = holding.watch.lapse(silence, ratings, guard=desk.panel.guard, posts=lineup.posts)
    owners = Owners([holding], [len(silence.connectors)])
    _take_in(judgement, lineup, owners, silence.connectors, desk)
    if holding.findings or holding.in_shadow:
        _commit(holding, desk)


# --- a log that is gone -----------------------------------------------------------------------


def _log_is_gone(holding: Holding, found: Arrival) -> bool:
    """Whether the log is another one than ours, or ends before where we are."""
    if holding.position.generation != found.generation:
        return True
    if holding.position.entry == START:
        return False
    return found.last_entry is None or is_behind(found.last_entry, holding.position.entry)


def _replay(holding: Holding, generation: str, lease: Lease, desk: Desk) -> None:
    """Judges what Elasticsearch has and the lost log had, then starts the new log.

    What arrived after we noticed is in the new log. It serves here only for what must be judged
    before a reading that arrived earlier.
    """
    now_ms = desk.now_ms()
    noticed_ms = desk.noticed_ms.setdefault(generation, now_ms)
    time.sleep(max(0, noticed_ms + SETTLE_MS - now_ms) / 1000)
    for batch in missed(
        desk.telemetry,
        desk.directory.tenants(),
        holding.watch,
        partition=holding.partition,
        partitions=desk.log.partitions,
    ):
        mature = batch.arrived_ms <= noticed_ms
        choice = in_order(batch, mature=mature, window_ms=REORDER_WINDOW_MS)
        metrics.REPLAYED.inc(int(choice.released.sum()))
        owners = Owners([holding], [len(batch.connectors)])
        _judge(batch.rows(choice.released), owners, desk)
        _renew(lease)
    # What was late is not judged here, nor can it be told from the log any more whose it was.
    holding.watch.note_late(holding.watch.connectors)
    holding.position = Position(generation, START)
    holding.early.clear()
    _commit(holding, desk)


# --- committing -------------------------------------------------------------------------------


def _commit(holding: Holding, desk: Desk, *, also: Also | None = None) -> None:
    """Findings and checkpoint in one transaction, then the log is trimmed. Raises Fenced."""
    now = desk.clock()
    stories = _by_schema(holding.findings, desk)
    shadows = _by_schema(holding.in_shadow, desk)
    if also is None:
        holding.watch.forget(desk.rulebooks.is_gone)
    faults.point("before_checkpoint")
    # A checkpoint alone is one statement, which is a transaction by itself.
    with transaction.atomic() if stories or shadows or also else nullcontext():
        # First, for it locks the row: a newer holder waits, an older one is turned away here.
        operations.commit(holding.progress(), now=now)
        for schema in sorted({*stories, *shadows}):
            with schema_context(schema):
                if schema in stories:
                    apply_findings(stories[schema], judged_at=now)
                if schema in shadows:
                    note_findings(shadows[schema], judged_at=now)
        if also is not None:
            also(now)
        faults.point("before_commit")
    faults.point("after_commit")
    for finding in holding.findings:
        severity = finding.severity.name.lower() if finding.severity else "ended"
        metrics.FINDINGS.labels(finding.condition, severity).inc()
    for finding in holding.in_shadow:
        metrics.SHADOW_FINDINGS.labels(finding.detector).inc()
    holding.findings, holding.in_shadow = [], []
    _note_committed([holding], now, desk)


def _checkpoint(holdings: Sequence[Holding], desk: Desk) -> None:
    """How far these are, of which nothing is to be told. Raises Fenced."""
    if not holdings:
        return
    now = desk.clock()
    for holding in holdings:
        holding.watch.forget(desk.rulebooks.is_gone)
    faults.point("before_checkpoint")
    faults.point("before_commit")
    operations.commit_all([each.progress() for each in holdings], now=now)
    faults.point("after_commit")
    _note_committed(holdings, now, desk)


def _note_committed(holdings: Sequence[Holding], now: datetime, desk: Desk) -> None:
    """What is in a checkpoint is not needed in the log any more."""
    for holding in holdings:
        holding.is_dirty = False
        holding.committed_at = now
    _trim(holdings, desk)


def _trim(holdings: Sequence[Holding], desk: Desk) -> None:
    judged = {each.partition: each.position.entry for each in holdings}
    desk.log.trim_several({key: entry for key, entry in judged.items() if entry != START})


def _by_schema(findings: list[Finding], desk: Desk) -> dict[str, list[Finding]]:
    """The findings of each tenant, in their order, of connectors as the tenant knows them."""
    stories: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        slug, connector = key_of(finding.connector)
        tenant = desk.directory.tenant(slug)
        if tenant is None:
            logger.warning("finding_of_unknown_tenant", tenant=slug)
        else:
            stories[tenant.schema_name].append(replace(finding, connector=connector))
    return stories
