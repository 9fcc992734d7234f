"""Device passwords and the hashes that Mosquitto reads.

A password is 192 random bits, shown once; what is kept is Mosquitto's own `$7$` form, PBKDF2 with
SHA-512. Its 101 iterations would be few for words of people's own; for random bits they are enough,
and thousands of devices can reconnect at once.
"""

import base64
import hashlib
import hmac
import secrets

_ITERATIONS = 101
_SALT_BYTES = 12
_PASSWORD_BYTES = 24


def new_password() -> str:
    """A device's secret: 192 random bits as 32 characters that are safe in any file or URL."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def hash_password(password: str, *, salt: bytes | None = None) -> str:
    """`$7$<iterations>$<salt>$<hash>`, salt and hash in base 64."""
    salt = salt or secrets.token_bytes(_SALT_BYTES)
    key = _key(password, salt, _ITERATIONS)
    return f"$7${_ITERATIONS}${_text(salt)}${_text(key)}"


def matches(password: str, password_hash: str) -> bool:
    """Whether the hash is of this password; False for what is no hash of ours."""
    try:
        _empty, kind, iterations, salt, key = password_hash.split("$")
        expected, salted = base64.b64decode(key), base64.b64decode(salt)
        found = _key(password, salted, int(iterations))
    except ValueError:
        return False
    return kind == "7" and hmac.compare_digest(found, expected)


def _key(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
