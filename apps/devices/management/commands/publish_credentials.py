"""manage.py publish_credentials: write Mosquitto's password file from the database, now."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from apps.devices.credentials import publish


class Command(BaseCommand):
    help = "Write Mosquitto's password file from the database and tell the broker."

    def handle(self, **options: Any) -> None:
        path = settings.ENVIRONMENT.mqtt_password_file
        if not path:
            self.stdout.write("OHMWATCH_MQTT_PASSWORD_FILE is not set: the broker asks over HTTP.")
            return
        changed = publish()
        self.stdout.write(f"{path} {'written' if changed else 'is as it should be'}.")
