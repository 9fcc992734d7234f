"""One holder a partition at a time: a lease in Redis, a fencing number in Postgres.

The lease (SET NX PX) keeps workers from doing the same work; it promises nothing, for a worker
may be paused past its end, and Redis may forget it. What keeps a second holder from writing is
the fencing number: it is raised in Postgres at each taking over, and a checkpoint is written
only by the newest.
"""

from dataclasses import dataclass

import redis

LEASE_MS = 10_000
"""Longer than a pass over one page; a holder renews between pages, and gives back at the end."""

_RENEW = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end
return 0
"""
RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
"""


def lease_key(partition: int) -> str:
    """Holds who works on the partition now."""
    return f"ow:lease:{partition}"


def holder_key(partition: int) -> str:
    """Holds who has worked on the partition last, also between passes."""
    return f"ow:holder:{partition}"


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease of one partition as one worker (`holder`, unique to its process) sees it."""

    client: redis.Redis
    partition: int
    holder: str

    def take(self) -> bool:
        """True where nobody holds it, and now we do, for LEASE_MS."""
        taken = self.client.set(lease_key(self.partition), self.holder, nx=True, px=LEASE_MS)
        return bool(taken)

    def renew(self) -> bool:
        """Ours for another LEASE_MS; False where it is no longer ours."""
        key = lease_key(self.partition)
        return bool(self.client.eval(_RENEW, 1, key, self.holder, LEASE_MS))

    def release(self) -> None:
        """Gives it back, if it is ours still."""
        self.client.eval(RELEASE, 1, lease_key(self.partition), self.holder)

    def was_ours(self, fencing: int) -> bool:
        """Whether nobody has held the partition since we did under this fencing number."""
        return self.client.get(holder_key(self.partition)) == self.mark(fencing)

    def sign(self, fencing: int) -> None:
        """Notes that we hold it under this fencing number; the next one overwrites it."""
        self.client.set(holder_key(self.partition), self.mark(fencing))

    def mark(self, fencing: int) -> bytes:
        """What `sign` notes."""
        return f"{self.holder}:{fencing}".encode()
