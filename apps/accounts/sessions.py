"""Sessions as they lie in the database: encrypted, for while a second factor is set up its seed is
in one."""

import json
from typing import Any

from apps.accounts import keyring


class EncryptedSerializer:
    """Django's JSON, encrypted; one that can't be read is an empty session: signed out."""

    def dumps(self, obj: Any) -> bytes:
        return keyring.encrypt(json.dumps(obj, separators=(",", ":"))).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(keyring.decrypt(data.decode()))
