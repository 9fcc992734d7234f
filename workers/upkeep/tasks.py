"""The tasks of the upkeep worker, a file each, where Celery looks for them."""

from workers.upkeep.accounts import close_account
from workers.upkeep.events import index_events, index_tenant_events
from workers.upkeep.keeping import slices
from workers.upkeep.offline import offline, tenant_offline
from workers.upkeep.states import sync_all_states, sync_changed_states, sync_states
from workers.upkeep.unwatched import unwatched

__all__ = [
    "close_account",
    "index_events",
    "index_tenant_events",
    "offline",
    "slices",
    "sync_all_states",
    "sync_changed_states",
    "sync_states",
    "tenant_offline",
    "unwatched",
]
