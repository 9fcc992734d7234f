"""A visit to a partition: take it, read on in its log, judge, commit, tell.

What a killed worker leaves behind: a lease that runs out, a checkpoint, and a log that was
trimmed no further than the checkpoint; whoever comes next goes on from there and states the same
findings.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import numpy as np
import structlog
from django.db import transaction
from django_tenants.utils import schema_context

from apps.alarms.operations import apply_findings
from apps.partitions import arrears, operations
from apps.partitions.lease import Lease
from apps.partitions.log import START, Entry, Page, Position, is_behind
from apps.partitions.queries import positions
from apps.partitions.snapshots import rewrite
from apps.partitions.visits import Arrival, come, go
from apps.partitions.wakeups import LATEST_MS, REORDER_WINDOW_MS, SOONEST_MS
from apps.warning.shadows import note_findings
from ohmwatch.detector import Batch, Flags
from ohmwatch.findings import Finding
from ohmwatch.reorder import in_order
from ohmwatch.watch import Judgement, Watch
from workers.detection import faults, metrics
from workers.detection.desk import Desk
from workers.detection.gathering import as_batch, key_of
from workers.detection.holding import Holding
from workers.detection.listening import LAPSE_EVERY_MS
from workers.detection.replay import missed
from workers.detection.rulebooks import Lineup

logger = structlog.get_logger(__name__)

ENTRIES_A_STEP = 64
CHECKPOINT_EVERY_S = 5.0
"""Without findings. What lies in between is judged again after a crash, to the same end."""

VISIT_LIMIT_S = 2.0
"""Then another partition has its turn; this one asks for the next itself."""

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
        _work(holding, found, lease, desk)
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


def _hold_and_work(found: Arrival, lease: Lease, desk: Desk) -> Outcome:
    came_at = time.monotonic()
    try:
        holding = _hold(found, lease, desk)
        _work(holding, found, lease, desk)
    except (operations.Fenced, LeaseLost) as error:
        logger.warning("partition_lost", partition=lease.partition, error=str(error))
        desk.holdings.pop(lease.partition, None)
        lease.release()
        return Outcome.FENCED
    except BaseException:
        # Memory may be ahead of the checkpoint now, with findings that nobody will write.
        desk.holdings.pop(lease.partition, None)
        lease.release()
        raise
    desk.note_visit(time.monotonic() - came_at)
    in_ms = next_visit_ms(
        ripe_in_ms=(holding.ripe_at - time.monotonic()) * 1000,
        visit_s=desk.visit_s,
        partitions=len(desk.holdings),
    )
    if go(lease, judged=holding.position.entry, wake_in_ms=in_ms):
        desk.log.send(lease.partition, in_ms)
    return Outcome.JUDGED


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
    desk.holdings[lease.partition] = holding
    return holding


def _work(holding: Holding, found: Arrival, lease: Lease, desk: Desk) -> None:
    if _log_is_gone(holding, found):
        _replay(holding, found.generation, lease, desk)
    until = time.monotonic() + VISIT_LIMIT_S
    while more := _judge_next(holding, desk):
        _renew(lease)
        if time.monotonic() >= until:
            break
    if not more:
        _look_at_the_clock(holding, desk)
    if holding.is_dirty and _checkpoint_is_due(holding, desk):
        _commit(holding, desk)


def _checkpoint_is_due(holding: Holding, desk: Desk) -> bool:
    age_s = (desk.clock() - holding.committed_at).total_seconds()
    return bool(holding.findings or holding.in_shadow) or age_s >= CHECKPOINT_EVERY_S


def _renew(lease: Lease) -> None:
    if not lease.renew():
        raise LeaseLost(f"partition {lease.partition}")


# --- reading on -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reading:
    """Entries behind the position; the first `mature` have waited the reorder window out."""

    entries: list[Entry]
    mature: int
    more: bool

    def gather(self) -> tuple[Batch, Flags]:
        """All readings of the page, and which of them (bool[n]) are of mature entries."""
        metrics.UNREADABLE.inc(sum(each.stacks is None for each in self.entries))
        stacks = [each.stacks or [] for each in self.entries]
        sizes = [sum(len(stack.time_ms) for stack in several) for several in stacks]
        mature = np.arange(sum(sizes)) < sum(sizes[: self.mature])
        return as_batch([stack for several in stacks for stack in several]), mature


def _read(holding: Holding, desk: Desk) -> _Reading:
    count = ENTRIES_A_STEP
    while True:
        page = desk.log.read(holding.partition, holding.position.entry, count=count)
        entries = page.entries
        more = len(entries) == count
        seen_ms = entries[-1].stored_ms - 1 if more else page.now_ms
        mature = sum(each.stored_ms <= seen_ms - REORDER_WINDOW_MS for each in entries)
        if mature or not more:
            holding.ripe_at = time.monotonic() + _ripe_in_ms(page, mature) / 1000
            return _Reading(entries, mature, more)
        count *= 2


def _ripe_in_ms(page: Page, mature: int) -> int:
    """When the first unripe entry is due; where there is none, one that comes now."""
    unripe = page.entries[mature:]
    waited_ms = page.now_ms - unripe[0].stored_ms if unripe else 0
    return REORDER_WINDOW_MS - waited_ms + 1


def _judge_next(holding: Holding, desk: Desk) -> bool:
    """Judges a page of the log; true where another one lies behind it."""
    page = _read(holding, desk)
    if not page.mature:
        return False
    batch, mature = page.gather()
    choice = in_order(batch, mature=mature, window_ms=REORDER_WINDOW_MS)
    metrics.LATE.inc(holding.count_late(batch, mature, choice.released))
    if holding.out_of_reach:
        desk.count_late("readings_out_of_reach", holding.out_of_reach)
        holding.out_of_reach = 0
    holding.position = replace(holding.position, entry=page.entries[page.mature - 1].id)
    holding.is_dirty = True
    _judge(batch.rows(choice.released), holding, desk)
    return page.more


def _judge(batch: Batch, holding: Holding, desk: Desk) -> None:
    """Shows readings to the detectors; what they state is committed at once, with a checkpoint."""
    ratings = desk.ratings(batch.connectors)
    lineup = desk.rulebooks.lineup(batch.connectors)
    judgement = holding.watch.observe(batch, ratings, guard=desk.panel.guard, posts=lineup.posts)
    faults.point("after_detectors")
    _take_in(judgement, lineup, holding, desk)
    now = desk.clock()
    if len(judgement.judged):
        metrics.JUDGED.inc(len(judgement.judged))
        lag_s = now.timestamp() - float(judgement.judged.arrived_ms.max()) / 1000
        metrics.LAG_SECONDS.labels(holding.partition).set(lag_s)
    if holding.findings or holding.in_shadow:
        _commit(holding, desk)
    desk.board.note(
        judgement.judged,
        ratings,
        judged_ms=int(now.timestamp() * 1000),
        known=judgement.known,
    )


def _take_in(judgement: Judgement, lineup: Lineup, holding: Holding, desk: Desk) -> None:
    holding.findings += lineup.stated(judgement)
    holding.in_shadow += lineup.in_shadow(judgement)
    for name, error in judgement.failed.items():
        metrics.FAILURES.labels(name, type(error).__name__).inc()
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
    _take_in(judgement, lineup, holding, desk)
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
        _judge(batch.rows(choice.released), holding, desk)
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
    holding.is_dirty = False
    holding.committed_at = now
    if holding.position.entry != START:
        desk.log.trim(holding.partition, holding.position.entry)


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
