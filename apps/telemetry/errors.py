"""What can go wrong with telemetry.

TelemetryError
├── AskedTooMuch      the question's range, points or page are over the limit: ask for less
├── WrongQuestion     it names a field or an order that does not exist
├── StoreSlow         Elasticsearch did not answer within the time limit: ask again, or for less
├── StoreUnavailable  Elasticsearch can't be reached: try again
├── TurnLost          somebody else may be building or erasing by now: begin anew
└── StoreRefused      Elasticsearch refused: trying again won't help
"""


class TelemetryError(Exception):
    """`code` names it in APIs and logs; `permanent` says whether to try again; `data` says what."""

    code = "telemetry_error"
    permanent = False

    def __init__(self, **data: object) -> None:
        self.data = data
        said = ", ".join(f"{name}={value}" for name, value in data.items())
        super().__init__(f"{self.code}: {said}" if said else self.code)


class AskedTooMuch(TelemetryError):
    """Over a limit; `what`, `asked` and `limit` say which, `ask`, where it is there, what to ask
    for instead."""

    code = "asked_too_much"
    permanent = True


class WrongQuestion(TelemetryError):
    """A field, order or id that can't be; `ask`, where it is there, are those that can."""

    code = "wrong_question"
    permanent = True


class StoreSlow(TelemetryError):
    """No whole answer within the time limit, `limit_s`. Partial answers are never returned."""

    code = "store_slow"


class StoreUnavailable(TelemetryError):
    """The store can't be reached, or asks us to wait."""

    code = "store_unavailable"


class TurnLost(TelemetryError):
    """Who builds rollups, or erases, was held up for so long that its turn was over."""

    code = "turn_lost"


class StoreRefused(TelemetryError):
    """The store refused, with `status` and `reason`."""

    code = "store_refused"
    permanent = True
