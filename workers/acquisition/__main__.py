"""`python -m workers.acquisition drain SLOT`: give a slot up without losing what waits for it.

A broker deals messages to the sessions of slots that are away, too. So a slot that is no longer
wanted comes back under its id once more, unsubscribes, takes what the broker holds for it, and ends
its session. Its worker must have been stopped before: two under one id push each other out.
"""

import sys
import time
from contextlib import suppress
from typing import Any

import django
from redis import RedisError

QUIET_S = 3.0
"""Nothing came for so long, with nothing in hand: then nothing is left."""
ALIVE_S = 5.0
"""A worker reports each second; one that does so again within this time still runs."""
_LOOK_S = 0.1


def main(arguments: list[str]) -> int:
    """0: the slot is empty and its session ended. 1: it still works. 2: misused."""
    if len(arguments) != 2 or arguments[0] != "drain" or not arguments[1].isdecimal():
        print(__doc__, file=sys.stderr)  # noqa: T201 - a command's answer
        return 2
    django.setup()
    return drain(int(arguments[1]))


def drain(slot: int, *, quiet_s: float = QUIET_S) -> int:
    """Runs until the slot is empty, however long its stores are away."""
    from workers.acquisition.step import acquisition_of, board_of  # Django is ready now

    board = board_of()
    if _still_works(board, slot):
        print(f"slot {slot} still works: stop its worker first", file=sys.stderr)  # noqa: T201
        return 1
    acquisition = acquisition_of(slot, retiring=True)
    acquisition.start()
    try:
        while not _is_empty(acquisition, quiet_s):
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        acquisition.stop()
        return 130
    acquisition.stop(end_session=True)
    with suppress(RedisError):  # a false alarm at worst
        board.retire(slot)
    print(f"slot {slot} is empty, its session ended")  # noqa: T201
    return 0


def _still_works(board: Any, slot: int) -> bool:
    said = board.reported(slot)
    until = time.monotonic() + ALIVE_S
    while said and time.monotonic() < until:
        time.sleep(_LOOK_S)
        if board.reported(slot).get("at_ms", said["at_ms"]) != said["at_ms"]:
            return True
    return False


def _is_empty(acquisition: Any, quiet_s: float) -> bool:
    return acquisition.crew is not None and acquisition.crew.is_empty(quiet_s=quiet_s)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
