"""Who is refused before anything is decoded leaves nothing behind but the refusal."""

import gc

from apps.devices.directory import Directory
from ohmwatch.refusals import Reason
from workers.acquisition.batches import Batch, Message
from workers.acquisition.sorting import decode


def test_strangers_are_refused_without_a_trace() -> None:
    """A refusal that held its frames would hold its batch, until the seldom collector comes."""
    topics = [f"ow/v1/nobody.tbox-{number}/readings" for number in range(50)]
    messages = [Message(topic, b"{}") for topic in topics for _ in range(2)]
    directory = Directory()
    gc.collect()
    gc.disable()
    try:
        work = decode(Batch(1, 0, 1_795_420_800_000, messages), directory=directory)
        assert [each.reason for each in work.refused] == [Reason.UNKNOWN_TENANT] * len(messages)
        del work
        assert gc.collect() < len(topics)
    finally:
        gc.enable()
