"""The connectors of a recording against their batch and model, once it is through.

In production they are compared every hour by what the state index holds. A recording has no hours:
who is where in the files must make no difference, so they are compared by the newest that is known
of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ohmwatch.backtest.installed import Installed
from ohmwatch.detector import Ratings
from ohmwatch.findings import Finding
from ohmwatch.fleet import AgeingOutlier, Standing
from ohmwatch.physics.known import ageing, knowledge, with_known
from ohmwatch.watch import Judgement

DAY_MS = 86_400_000


class Fellows:
    """What is known of each connector's ageing so far."""

    def __init__(self, installed: Mapping[str, Installed], detector: AgeingOutlier) -> None:
        self._installed, self._detector = installed, detector
        self._standings: dict[str, Standing] = {}

    def note(self, judgement: Judgement, ratings: Sequence[Ratings]) -> None:
        """Takes in the newest of each connector; what is known no more is forgotten."""
        judged = judgement.judged
        ends = np.flatnonzero(np.diff(judged.connector, append=-1))
        if not (len(ends) and judgement.known):
            return
        newest = with_known(judged.rows(ends), judgement.known)
        aged, learnt_ms = ageing(newest, ratings), knowledge(newest).learnt_ms
        for at, owner in enumerate(newest.connector.tolist()):
            name = newest.connectors[owner]
            if np.isnan(aged.change[at]):
                self._standings.pop(name, None)
                continue
            known_ms = max(float(learnt_ms[at]) - float(aged.since_ms[at]), 0.0)
            self._standings[name] = Standing(
                connector=name,
                model=self._installed[name].model,
                batch=self._installed[name].batch,
                change=float(aged.change[at]),
                change_sd=float(aged.change_sd[at]),
                age_days=known_ms / DAY_MS,
                measured_ms=int(newest.time_ms[at]),
                arrived_ms=int(newest.arrived_ms[at]),
            )

    def compare(self) -> list[Finding]:
        """Who ages ahead of its like, by name; known when the last reading of all had come."""
        standings = [self._standings[name] for name in sorted(self._standings)]
        arrived_ms = max((each.arrived_ms for each in standings), default=0)
        found = self._detector.compare(standings, stated=())
        return [replace(each, arrived_ms=arrived_ms) for each in found]
