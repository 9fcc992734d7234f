"""What an SMS takes from: its number's allowance, its organisation's, and the day's of all.

Critical alarms have an allowance of their own at each number, and codes and tests may use only a
part of the day's: nothing that somebody asks for by hand can starve them.
"""

from collections.abc import Sequence

from apps.notifications import budget
from apps.notifications.allowance import Counter
from apps.notifications.channel import Recipient
from apps.tenants.models import Tenant

# (seconds, messages to one number). Grouping alone would allow 12 an hour.
LIMITS = ((60, 1), (3600, 5), (86_400, 20))
CRITICAL_LIMITS = ((60, 1), (3600, 12), (86_400, 60))
ORGANISATION_LIMITS = ((86_400, 100),)
PREFIX_LIMITS = ((3600, 20),)
"""Codes to numbers that begin alike: consecutive numbers are how messages are pumped for money."""
PREFIX = 8
"""The plus sign and seven digits."""
DAY = budget.COUNTER


def of_alarm(recipient: Recipient, *, tenant: Tenant, urgent: bool) -> Sequence[Counter]:
    """The counters of an alarm's message."""
    number = recipient.address
    if urgent:
        return [Counter("sms-critical", number, CRITICAL_LIMITS), budget.counter(tenant)]
    return [
        Counter("sms-other", number, LIMITS),
        Counter("sms-organisation", recipient.organisation, ORGANISATION_LIMITS),
        budget.counter(tenant),
    ]


def of_note(number: str, *, tenant: Tenant) -> Sequence[Counter]:
    """The counters of a code or a test."""
    return [
        Counter("sms-prefix", number[:PREFIX], PREFIX_LIMITS),
        budget.counter(tenant, share=budget.BY_HAND),
    ]
