"""`celery … -I tests.faults.seating`: the detection worker that is told so has a witness.

No test imports this: its own process would have one as well.
"""

from tests.faults.witness import WITH_WITNESS
from workers.detection import tasks

tasks.DETECTORS = WITH_WITNESS
