"""The tasks of the upkeep worker, a file each, where Celery looks for them."""

from workers.upkeep.accounts import close_account
from workers.upkeep.ageing import ageing, tenant_ageing
from workers.upkeep.clocks import clocks, tenant_clocks
from workers.upkeep.events import index_events, index_tenant_events
from workers.upkeep.growth import growth
from workers.upkeep.held import held_alarms, tenant_held_alarms
from workers.upkeep.keeping import slices
from workers.upkeep.ledgers import put_ledger_together
from workers.upkeep.offline import offline, tenant_offline
from workers.upkeep.rollups import rollups
from workers.upkeep.states import sync_all_states, sync_changed_states, sync_states
from workers.upkeep.unwatched import unwatched

__all__ = [
    "ageing",
    "clocks",
    "close_account",
    "growth",
    "held_alarms",
    "index_events",
    "index_tenant_events",
    "offline",
    "put_ledger_together",
    "rollups",
    "slices",
    "sync_all_states",
    "sync_changed_states",
    "sync_states",
    "tenant_ageing",
    "tenant_clocks",
    "tenant_held_alarms",
    "tenant_offline",
    "unwatched",
]
