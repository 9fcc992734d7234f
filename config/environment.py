"""Everything Ohmwatch is told from outside, in one typed place.

Each field is the environment variable OHMWATCH_<FIELD>. `./ohmwatch up` writes them for one
machine; docker-compose.yml names the same list for a cluster, and a test holds both to it.
"""

from typing import Literal

from pydantic import AnyUrl, Field, PostgresDsn, RedisDsn, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Environment(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="OHMWATCH_", extra="ignore")

    secret_key: SecretStr = Field(min_length=32, description="Signs sessions and links")
    secret_key_fallbacks: SecretStr = Field(
        default=SecretStr(""),
        description="Former secret keys, with spaces between: what they signed and encrypted still "
        "holds",
    )
    base_domain: str = Field(
        default="localhost", description="Tenants live at <slug>.<base domain>"
    )
    public_url: AnyUrl = Field(
        description="How a browser reaches the platform portal, with its port: http://localhost:8000"
    )
    https: bool = Field(default=False, description="Secure cookies and HSTS; true behind TLS")
    demo: bool = Field(default=False, description="Demo fleet, demo logins and the inbox page")
    require_mfa: bool = Field(
        default=True,
        description="Operators and tenants' administrators reach nothing without a second factor",
    )
    log_format: Literal["console", "json"] = "json"
    data_dir: str = Field(description="Files that people upload or export")
    static_dir: str = Field(default=".run/static", description="Where collectstatic puts assets")

    postgres_url: PostgresDsn = Field(description="postgresql://user:password@host:port/database")
    postgres_pool: bool = True
    redis_url: RedisDsn = Field(
        description="redis://:password@host:port/N: databases N..N+3 are Celery's broker, the "
        "Channels layer, the partitions' logs and the cache"
    )
    elasticsearch_url: AnyUrl = Field(description="http://user:password@host:port")
    elasticsearch_prefix: str = Field(
        default="", pattern=r"^([a-z0-9][a-z0-9-]*-)?$", description="Set before every index name"
    )
    elasticsearch_replicas: int = Field(
        default=0, ge=0, le=5, description="Copies of each shard: 0 on one node, 1 on a cluster"
    )
    expected_readings_per_s: int = Field(
        default=0, ge=0, description="Of all devices: the first slices have shards for so many"
    )
    mqtt_url: str = Field(
        description="The workers' listener, mqtt://host:port, several with commas between them "
        "(independent brokers; a cluster is one); user name is the slot's client id"
    )
    mqtt_password: SecretStr = Field(description="Password of the acquisition slots")
    mqtt_device_url: AnyUrl = Field(description="The listener that devices use, as told to people")
    mqtt_password_file: str = Field(
        default="", description="Mosquitto's password file that Ohmwatch keeps; empty with EMQX"
    )
    mqtt_pid_file: str = Field(default="", description="Mosquitto's pid, told to re-read that file")
    broker_auth_token: SecretStr = Field(
        default=SecretStr(""), description="EMQX shows it when it asks who a device is; empty: off"
    )

    metrics_token: SecretStr = Field(
        default=SecretStr(""),
        description="Who shows it may read /metrics; empty: this machine only",
    )

    acquisition_slot: int = Field(default=-1, ge=-1, description="-1: this process is no slot")
    partitions: int = Field(default=16, ge=1, le=1024, description="Never change after first start")

    email_url: AnyUrl = Field(description="smtp://user:password@host:port, smtps:// for TLS")
    email_from: str = "Ohmwatch <alarms@ohmwatch.localhost>"
    sms_gateway_url: str = Field(default="", description="HTTP gateway for SMS; empty: no SMS")
    sms_gateway_token: SecretStr = SecretStr("")
    inbox_url: str = Field(default="", description="The demo's inbox page; demo only")

    @property
    def mqtt_urls(self) -> list[AnyUrl]:
        """Every broker that acquisition takes from."""
        return _urls(self.mqtt_url)

    @field_validator("mqtt_url")
    @classmethod
    def _are_urls(cls, value: str) -> str:
        if not _urls(value):
            raise ValueError("no broker is named")
        return value


def _urls(value: str) -> list[AnyUrl]:
    return [AnyUrl(each.strip()) for each in value.split(",") if each.strip()]
