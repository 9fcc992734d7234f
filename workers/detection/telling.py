"""The thread that tells what this process has counted (`apps.partitions.board`)."""

import atexit
import threading
import time
from functools import cache

import structlog
from django.utils import timezone

from apps.partitions.board import Teller
from apps.telemetry import board
from apps.telemetry.slices import to_ms

logger = structlog.get_logger(__name__)

TELL_EVERY_S = 1.0
"""What is not told yet, a killed worker takes along."""


@cache
def begin_to_tell() -> None:
    """From now on until the process ends; once, however often it is asked."""
    teller = Teller(board.client())
    atexit.register(_tell, teller)
    threading.Thread(target=_tell_for_ever, args=[teller], name="telling", daemon=True).start()


def _tell_for_ever(teller: Teller) -> None:
    while True:
        time.sleep(TELL_EVERY_S)
        _tell(teller)


def _tell(teller: Teller) -> None:
    try:
        teller.tell(now_ms=to_ms(timezone.now()))
    except Exception as error:  # it must neither end the thread nor keep the process from ending
        logger.warning("counts_not_told", error=repr(error))
