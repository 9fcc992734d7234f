"""Contacts: added, proved by a code, tried, changed and taken away.

Nothing but its code is ever sent to an address that nobody has proved, and how many codes and
tests go out is counted by address, by who asks and by their organisation.
"""

import hmac
import secrets
from datetime import datetime, timedelta

import redis
import structlog
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import translation
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from apps.accounts.models import Organisation, User
from apps.accounts.permissions import Permission, Role
from apps.notifications import links
from apps.notifications.allowance import Counter, Verdict, take
from apps.notifications.channel import Answer, Note, Recipient
from apps.notifications.models import Contact, ContactCode, Delivery
from apps.notifications.registry import channels
from apps.tenants.identifiers import new_id
from apps.tenants.queries import current_tenant

log = structlog.get_logger(__name__)

CODE_DIGITS = 8
"""26 bits; with five tries and five codes an hour nobody guesses one (ASVS 6.6: 20 or more)."""
CODE_LIFE = timedelta(minutes=10)
CODE_TRIES = 5
MOST_CONTACTS = 100
"""Of an organisation: a list that people can still look through."""
SAID = 40
"""Letters of a manufacturer's name in an SMS."""
ADDRESS_LIMITS = ((60, 1), (3600, 5), (86_400, 20))
USER_LIMITS = ((3600, 10),)
ORGANISATION_LIMITS = ((86_400, 100),)


class NotNow(Exception):
    """Too many were asked for. `wait_s`: until there is room again."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"wait {wait_s:.0f} s")
        self.wait_s = wait_s


class WrongCode(Exception):
    """The code was not accepted. `tries_left` 0: it is used up or too old, a new one is needed."""

    def __init__(self, tries_left: int) -> None:
        super().__init__(f"{tries_left} tries left")
        self.tries_left = tries_left


def may_add(user: User, *, organisation: Organisation | None, person: User | None) -> bool:
    """Whether `user` may keep a contact of this organisation (None: the staff) and person.

    Who manages users may for all; who edits rules for the manufacturer's staff; owners for their
    organisation; everybody for themselves.
    """
    organisation_id = organisation.pk if organisation else None
    if not user.can(Permission.VIEW_FLEET):
        return False
    if user.can(Permission.MANAGE_USERS):
        return True
    if user.organisation_id != organisation_id:
        return False
    mine = person is not None and person.pk == user.pk
    return mine or user.role == Role.OWNER or user.can(Permission.EDIT_RULES)


def may_manage(user: User, contact: Contact) -> bool:
    """Whether `user` may prove, try, change or remove the contact."""
    return may_add(user, organisation=contact.organisation, person=contact.user)


def add_contact(
    *,
    user: User,
    kind: str,
    address: str,
    name: str,
    language: str,
    timezone: str,
    minimum_severity: str,
    organisation: Organisation | None,
    person: User | None = None,
) -> Contact:
    """Adds a contact that is told once its code was entered. `organisation` None: the staff.

    `person`: whose address it is, so that messages end with their access. Raises
    PermissionDenied, and ValidationError for an address, zone or person that can't be.
    """
    if not may_add(user, organisation=organisation, person=person):
        raise PermissionDenied
    if kind not in channels() or not channels()[kind].is_ready():
        raise ValidationError({"kind": _("There is no such channel.")})
    if person is not None and person.organisation_id != (organisation.pk if organisation else None):
        raise ValidationError({"person": _("This person belongs to another organisation.")})
    _check_room(organisation)
    contact = Contact(
        kind=kind,
        address=_admitted(kind, address),
        name=_one_line(name),
        language=language,
        timezone=timezone,
        minimum_severity=minimum_severity,
        organisation=organisation,
        user=person,
    )
    contact.full_clean()
    contact.save()
    log.info("contact_added", contact=str(contact.pk), channel=kind, by=str(user.pk))
    return contact


def change_contact(
    *,
    user: User,
    contact: Contact,
    name: str,
    language: str,
    timezone: str,
    minimum_severity: str,
) -> Contact:
    """What is said to it and how; its address stays. Raises PermissionDenied, ValidationError."""
    _check_may(user, contact)
    contact.name, contact.language = _one_line(name), language
    contact.timezone, contact.minimum_severity = timezone, minimum_severity
    contact.full_clean()
    contact.save(update_fields=["name", "language", "timezone", "minimum_severity"])
    return contact


def remove_contact(*, user: User, contact: Contact, now: datetime) -> None:
    """Tells it nothing more and forgets its address; the alarms' stories keep who was told.

    Raises PermissionDenied.
    """
    _check_may(user, contact)
    with transaction.atomic():
        Contact.objects.filter(pk=contact.pk).update(
            address="",
            verified_at=None,
            disabled_at=now,
            disabled_reason="removed",
            removed_at=now,
        )
        ContactCode.objects.filter(contact=contact).delete()
        give_up(contact)
    log.info("contact_removed", contact=str(contact.pk), by=str(user.pk))


def give_up(contact: Contact, *, error: str = "contact_switched_off") -> None:
    """What waits for a contact that is told nothing more will not be sent."""
    Delivery.objects.filter(
        contact=contact, state__in=[Delivery.State.DUE, Delivery.State.SENDING]
    ).update(state=Delivery.State.ABANDONED, error=error, leased_until=None)


def send_code(*, user: User, contact: Contact, now: datetime) -> Answer:
    """Sends a new code to the contact; an older one is void. Also the way back when switched off.

    Raises PermissionDenied, NotNow where too many were asked for, and ValidationError where
    messages to the address are not allowed any more.
    """
    _check_may(user, contact)
    _take(user, contact, now)
    code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
    ContactCode.objects.update_or_create(
        contact=contact,
        defaults={
            "code_hash": _hash(contact, code),
            "sent_at": now,
            "expires_at": now + CODE_LIFE,
            "tries": 0,
        },
    )
    answer = channels()[contact.kind].tell(_code_note(contact, code))
    if not answer.accepted:
        ContactCode.objects.filter(contact=contact).delete()
    log.info("contact_code_sent", contact=str(contact.pk), accepted=answer.accepted)
    return answer


def verify(*, user: User, contact: Contact, code: str, now: datetime) -> None:
    """Proves the address by the code that was sent to it; it is told from now on.

    Raises PermissionDenied and WrongCode. A code is good once, for ten minutes and five tries:
    the try is counted before the code is looked at, so that parallel guesses gain nothing.
    """
    _check_may(user, contact)
    asked = ContactCode.objects.filter(contact=contact, expires_at__gt=now)
    if not asked.filter(tries__lt=CODE_TRIES).update(tries=F("tries") + 1):
        raise WrongCode(0)
    digits = "".join(sign for sign in code if sign.isdigit())
    with transaction.atomic():
        sent = asked.select_for_update().first()
        if sent is None:
            raise WrongCode(0)
        if not hmac.compare_digest(sent.code_hash, _hash(contact, digits)):
            raise WrongCode(CODE_TRIES - sent.tries)
        sent.delete()
        Contact.objects.filter(pk=contact.pk).update(
            verified_at=now, disabled_at=None, disabled_reason="", failures=0
        )
    log.info("contact_verified", contact=str(contact.pk), by=str(user.pk))


def send_test(*, user: User, contact: Contact, now: datetime) -> Answer:
    """Sends a few words to a proved contact, and returns what the other side answered.

    Raises PermissionDenied, ValidationError for one that is not proved, and NotNow.
    """
    _check_may(user, contact)
    if contact.verified_at is None or contact.disabled_at is not None:
        raise ValidationError(_("Enter the code first: nothing else is sent to it before."))
    _take(user, contact, now)
    return channels()[contact.kind].tell(_test_note(contact))


def _check_may(user: User, contact: Contact) -> None:
    if contact.removed_at is not None or not may_manage(user, contact):
        raise PermissionDenied


def _check_room(organisation: Organisation | None) -> None:
    kept = Contact.objects.filter(organisation=organisation, removed_at__isnull=True).count()
    if kept >= MOST_CONTACTS:
        raise ValidationError(
            _("There are %(count)d contacts; remove one first.") % {"count": kept}
        )


def _admitted(kind: str, address: str) -> str:
    """The address in its one form. Raises ValidationError, also for a country that is not allowed.

    Again when something is sent: what is allowed may have changed since.
    """
    channel = channels().get(kind)
    if channel is None:  # of a plug-in that is there no more
        raise ValidationError({"kind": _("There is no such channel.")})
    try:
        normal = channel.normalise(address)
    except ValidationError as refusal:
        raise ValidationError({"address": refusal.messages}) from refusal
    if not channel.admits(normal, tenant=current_tenant()):
        said = _("Messages to this country or kind of number are not allowed here.")
        raise ValidationError({"address": said})
    return normal


def _take(user: User, contact: Contact, now: datetime) -> None:
    """Takes a code or test from all allowances. Alarms have their own: nothing here starves them.

    Closed where the counters are away: unlike an alarm this can wait.
    """
    counters = [
        Counter("asked-address", f"{contact.kind}:{contact.address}", ADDRESS_LIMITS),
        Counter("asked-user", str(user.pk), USER_LIMITS),
        Counter("asked-organisation", str(user.organisation_id or ""), ORGANISATION_LIMITS),
    ]
    tenant = current_tenant()
    channel = channels()[contact.kind]
    _admitted(contact.kind, contact.address)
    counters += channel.counters_of_note(contact.address, tenant=tenant)
    try:
        verdict = take(tenant=tenant.slug, message=new_id().hex, counters=counters, now=now)
    except redis.RedisError as error:
        log.warning("allowance_unavailable", error=type(error).__name__)
        verdict = Verdict(60.0)
    if verdict.wait_s > 0:
        raise NotNow(verdict.wait_s)


def _hash(contact: Contact, code: str) -> str:
    """Bound to the contact and the tenant: the same code is another hash elsewhere."""
    salt = f"ohmwatch.contact:{current_tenant().slug}:{contact.pk}:{contact.address}"
    return salted_hmac(salt, code, algorithm="sha256").hexdigest()


def recipient_of(contact: Contact) -> Recipient:
    """The contact as channels are told of it."""
    return Recipient(
        contact.name,
        contact.address,
        contact.language,
        contact.timezone,
        str(contact.organisation_id or ""),
    )


def _code_note(contact: Contact, code: str) -> Note:
    """Nothing in it was written by who asked: nobody can advertise through it."""
    tenant = current_tenant()
    said = f"{code[:4]} {code[4:]}"
    with translation.override(contact.language):
        text = _(
            "%(code)s is your Ohmwatch code for alarms of %(tenant)s. It is good for 10 minutes. "
            "Didn't ask for it? Then do nothing."
        ) % {"code": said, "tenant": tenant.name[:SAID]}
        subject = _("Your Ohmwatch code")
    return Note(new_id().hex, tenant.name, recipient_of(contact), subject, text)


def _test_note(contact: Contact) -> Note:
    tenant = current_tenant()
    with translation.override(contact.language):
        text = _("Test message of %(tenant)s: alarms reach you here. Nothing is wrong. %(url)s") % {
            "tenant": tenant.name[:SAID],
            "url": links.of_tenant(tenant, "/contacts/"),
        }
        subject = _("Test message: nothing is wrong")
    return Note(new_id().hex, tenant.name, recipient_of(contact), subject, text)


def _one_line(text: str) -> str:
    return " ".join(text.split())
