"""Which models there are, as far as the person who asks may know."""

from django.db.models import QuerySet

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.catalog.models import ConnectorModel
from apps.tenants.lookups import find_or_404


def models(*, for_user: User) -> QuerySet[ConnectorModel]:
    """All models for the tenant's staff; for customers those that are in their vehicles."""
    if not for_user.can(Permission.VIEW_FLEET):
        return ConnectorModel.objects.none()
    if for_user.is_staff_of_tenant:
        return ConnectorModel.objects.all()
    return ConnectorModel.objects.filter(
        connectors__vehicle__organisation=for_user.organisation_id
    ).distinct()


def model_for(*, user: User, pk: object) -> ConnectorModel:
    """Raises Http404 where it doesn't exist or is not this person's to see."""
    return find_or_404(models(for_user=user), pk)
