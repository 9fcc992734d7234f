from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "apps.accounts"
    verbose_name = _("People")

    def ready(self) -> None:
        from allauth.mfa.signals import authenticator_added

        from apps.accounts.second_factor import note_set_up

        authenticator_added.connect(note_set_up, dispatch_uid="accounts.second_factor")
