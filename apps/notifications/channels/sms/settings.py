"""What the SMS channel is told from outside: OHMWATCH_SMS_..."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class SmsSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="OHMWATCH_SMS_", extra="ignore")

    gateway_url: str = ""
    gateway_token: SecretStr = SecretStr("")
    timeout_s: float = 10.0


# (seconds, messages to one number); critical ones have an allowance of their own, so that
# nothing else can use it up. Grouping alone would allow 12 an hour.
LIMITS = ((60, 1), (3600, 5), (86_400, 20))
CRITICAL_LIMITS = ((60, 1), (3600, 12), (86_400, 60))
