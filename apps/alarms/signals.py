"""What the layers above may hear of alarms, once the transaction is safe."""

from django.dispatch import Signal

events_written = Signal()
"""Sent after the commit with `schema: str`, `numbers: list[int]`, `notify: bool`.

A hint only: whoever misses it finds the same events in the outbox.
"""
