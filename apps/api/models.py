"""Keys with which a machine asks: each is bound to the tenant's staff or to one organisation."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.tenants.identifiers import new_id


class Scope(models.TextChoices):
    """What a key may be used for; each endpoint names the one it needs."""

    FLEET = "read:fleet", _("Vehicles, connectors and models")
    READINGS = "read:readings", _("Readings and states")
    ALARMS = "read:alarms", _("Alarms and their events")
    RULES = "read:rules", _("Rules")
    INSPECTIONS = "write:inspections", _("Enter what workshops find")

    @classmethod
    def reading(cls) -> list[str]:
        """Those that change nothing."""
        return [each for each in cls.values if each.startswith("read:")]


class ApiKey(models.Model):
    """A key's record. The key itself is shown once and only its SHA-256 is kept.

    A hash without salt and stretching is right here: the key is 256 random bits, not a word.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("name"), max_length=80)
    prefix = models.CharField(
        _("beginning"), max_length=24, help_text=_("The key's first signs, to tell keys apart.")
    )
    secret_hash = models.CharField(max_length=64, unique=True, editable=False)
    organisation = models.ForeignKey(
        "accounts.Organisation",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="api_keys",
        verbose_name=_("organisation"),
        help_text=_("Empty: the key sees all of the tenant."),
    )
    scopes = models.JSONField(_("scopes"), default=list)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("created by"),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                name="api_key_hash_is_sha256",
                condition=Q(secret_hash__regex=r"^[0-9a-f]{64}$"),  # noqa: S106
            ),
            models.CheckConstraint(
                name="api_key_expires_later",
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=models.F("created_at")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def scope_words(self) -> str:
        """What the key is for, in people's words."""
        words = dict(Scope.choices)
        return "; ".join(str(words.get(scope, scope)) for scope in self.scopes)
