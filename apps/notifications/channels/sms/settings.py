"""What the SMS channel is told from outside: OHMWATCH_SMS_..."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class SmsSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="OHMWATCH_SMS_", extra="ignore")

    gateway_url: str = ""
    gateway_token: SecretStr = SecretStr("")
    timeout_s: float = 10.0
