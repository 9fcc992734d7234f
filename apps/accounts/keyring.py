"""Secrets at rest: encrypted with keys that are derived from the secret key, an own one a schema.

The newest secret key encrypts, older ones (SECRET_KEY_FALLBACKS) still decrypt, so that a key can
be changed without a day on which nobody can sign in. What one tenant encrypted no other can read.
"""

from base64 import urlsafe_b64encode
from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from apps.tenants.schema import current_schema

__all__ = ["InvalidToken", "decrypt", "encrypt"]


def encrypt(text: str) -> str:
    """The text, readable in this schema and with this secret key only."""
    return _ring().encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """What was encrypted. Raises InvalidToken for another schema's, another key's or nonsense."""
    return _ring().decrypt(token.encode()).decode()


def _ring() -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return _ring_of(current_schema(), tuple(keys))


@cache
def _ring_of(schema: str, keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(_derived(key, schema)) for key in keys])


def _derived(key: str, schema: str) -> bytes:
    info = f"ohmwatch.at-rest.1:{schema}".encode()
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key.encode())
    return urlsafe_b64encode(derived)
