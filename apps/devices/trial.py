"""The command that sends one reading for a device by hand: what an empty page offers to copy."""

from urllib.parse import urlsplit

from django.conf import settings

from apps.devices.models import Device
from apps.devices.operations import identity_of

PASSWORD_PLACE = "$DEVICE_PASSWORD"  # noqa: S105 a place for it, not one


def publish_command(device: Device, *, number: int = 0, password: str = "") -> str:
    """mosquitto_pub with the device's identity; without a password it is left to the shell."""
    identity = identity_of(device)
    broker = urlsplit(str(settings.ENVIRONMENT.mqtt_device_url))
    tls = " --tls-use-os-certs" if broker.scheme in ("mqtts", "ssl") else ""
    reading = (
        f'{{"time": \'$(date +%s000)\', "channel": {number}, "current_a": 120.0, '
        '"temperature_pos_c": 41.5, "temperature_neg_c": 40.9, "ambient_c": 22.0}'
    )
    secret = f"'{password}'" if password else f'"{PASSWORD_PLACE}"'
    return (
        f"mosquitto_pub -V 5 -h {broker.hostname} -p {broker.port or 1883}{tls} -q 1 \\\n"
        f"  -i {identity} -u {identity} -P {secret} \\\n"
        f"  -t ow/v1/{identity}/readings \\\n"
        f"  -m '{reading}'"
    )
