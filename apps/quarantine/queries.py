"""What one may ask about replays, in the schema that is set."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.accounts.permissions import Permission
from apps.quarantine.models import Replay
from apps.quarantine.operations import UNDER_WAY
from apps.tenants.lookups import find_or_404


def replays(*, for_user: User) -> QuerySet[Replay]:
    """The tenant's runs, newest first; none for who may not see the quarantine."""
    runs = Replay.objects.select_related("requested_by")
    return runs if for_user.can(Permission.SEE_QUARANTINE) else runs.none()


def replay_for(*, user: User, pk: UUID) -> Replay:
    """A run by its id. Raises Http404."""
    return find_or_404(replays(for_user=user), pk)


def unattended(*, before: datetime) -> list[Replay]:
    """Runs that are not over and that nobody has worked at since then."""
    idle = Q(worked_at__isnull=True, requested_at__lt=before) | Q(worked_at__lt=before)
    return list(Replay.objects.filter(idle, state__in=UNDER_WAY).order_by("number"))
