"""The broker's list of users follows the database. Queue: upkeep."""

from apps.devices import credentials
from apps.tenants.tasks import public_task


@public_task(name="devices.publish_credentials", queue="upkeep", time_limit=60)
def publish_credentials(**later: object) -> None:
    """Safe to repeat and to lose: it runs each minute as well."""
    credentials.publish()
