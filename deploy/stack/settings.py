"""The environment that the product's processes get: every field of config/environment.py."""

from collections.abc import Mapping
from pathlib import Path

from deploy.stack.layout import CHECKOUT, COMPILED
from deploy.stack.python_environment import VENV
from deploy.stack.stack import Stack


def product_environment(stack: Stack) -> dict[str, str]:
    """OHMWATCH_* for one machine. Holds secrets: never print it, never put it in a command."""
    ports, secret = stack.ports, stack.credentials
    inbox = f"http://127.0.0.1:{ports.inbox}"
    values = {
        "secret_key": secret["secret_key"],
        "secret_key_fallbacks": "",
        "base_domain": "localhost",
        "public_url": f"http://localhost:{ports.web}",
        "https": "false",
        "demo": "true",
        "require_mfa": "false",  # the demo's people have no phones
        "log_format": "console",
        "data_dir": str(files_folder(stack)),
        "static_dir": str(stack.home.static),
        "postgres_pool": "true",
        "postgres_url": f"postgresql://ohmwatch:{secret['postgres']}"
        f"@127.0.0.1:{ports.postgres}/ohmwatch",
        "redis_url": f"redis://:{secret['redis']}@127.0.0.1:{ports.redis}/0",
        "elasticsearch_url": f"http://ohmwatch:{secret['elasticsearch']}"
        f"@127.0.0.1:{ports.elasticsearch}",
        "elasticsearch_prefix": "",
        "elasticsearch_replicas": "0",
        "expected_readings_per_s": "0",
        "mqtt_url": f"mqtt://127.0.0.1:{ports.mqtt_workers}",
        "mqtt_password": secret["mqtt"],
        "mqtt_device_url": f"mqtt://{stack.near}:{ports.mqtt_devices}",
        "mqtt_password_file": str(stack.home.data / "mosquitto" / "passwords"),
        "mqtt_pid_file": str(stack.home.data / "mosquitto" / "mosquitto.pid"),
        # EMQX's question, and Prometheus from another machine: neither is here.
        "broker_auth_token": "",
        "metrics_token": "",
        "partitions": "16",
        "email_from": "Ohmwatch <alarms@ohmwatch.localhost>",
        "email_url": f"smtp://ohmwatch:{secret['email']}@127.0.0.1:{ports.smtp}",
        "sms_gateway_url": f"{inbox}/sms/v1/messages",
        "sms_gateway_token": secret["sms_gateway_token"],
        "inbox_url": inbox,
        "demo_password": secret["demo_password"],
    }
    return {f"OHMWATCH_{name.upper()}": value for name, value in values.items()}


def process_environment(stack: Stack, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a Python process of the product gets, whole: nothing is inherited from the caller."""
    return {
        "PATH": f"{VENV / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(stack.home.data),
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"{CHECKOUT / 'src'}:{CHECKOUT}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "NUMBA_CACHE_DIR": str(COMPILED),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        **product_environment(stack),
        **(extra or {}),
    }


def files_folder(stack: Stack) -> Path:
    """What people upload or export, and the demo's own files."""
    return stack.home.data / "files"
