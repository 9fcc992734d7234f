"""Which vehicles and connectors there are, as far as the person who asks may know."""

from django.db.models import QuerySet

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.fleet.models import Connector, Vehicle
from apps.tenants.lookups import find_or_404


def vehicles(*, for_user: User) -> QuerySet[Vehicle]:
    """All of the tenant's for its staff; for customers their organisation's."""
    rows = Vehicle.objects.select_related("organisation")
    if not for_user.can(Permission.VIEW_FLEET):
        return rows.none()
    if for_user.is_staff_of_tenant:
        return rows
    return rows.filter(organisation=for_user.organisation_id)


def vehicle_for(*, user: User, pk: object) -> Vehicle:
    """Raises Http404 where it doesn't exist or is not this person's to see."""
    return find_or_404(vehicles(for_user=user), pk)


def connectors(*, for_user: User) -> QuerySet[Connector]:
    """All of the tenant's, spares too, for its staff; for customers those in their vehicles."""
    rows = Connector.objects.select_related("model", "vehicle__organisation")
    if not for_user.can(Permission.VIEW_FLEET):
        return rows.none()
    if for_user.is_staff_of_tenant:
        return rows
    return rows.filter(vehicle__organisation=for_user.organisation_id)


def connector_for(*, user: User, pk: object) -> Connector:
    """Raises Http404 where it doesn't exist or is not this person's to see."""
    return find_or_404(connectors(for_user=user), pk)
