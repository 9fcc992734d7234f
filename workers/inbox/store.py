"""What the demo inbox has received: mails and SMS in one SQLite file, the newest 500 of each."""

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

KEPT = 500
"""Messages kept of each kind; older ones are deleted as new ones come."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS mail (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, received_at TEXT, sender TEXT,
    recipients TEXT, raw BLOB);
CREATE TABLE IF NOT EXISTS sms (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, received_at TEXT, recipient TEXT,
    text TEXT, idempotency_key TEXT UNIQUE, fingerprint TEXT);
"""


class KeyReused(Exception):
    """The idempotency key was used before, with another message."""


@dataclass(frozen=True)
class Mail:
    """One mail as it came through SMTP."""

    number: int
    id: str
    received_at: datetime
    sender: str
    recipients: list[str]
    message: EmailMessage

    def body(self, kind: str) -> str:
        """The text of the first part of this kind, `plain` or `html`; empty without one."""
        part = self.message.get_body((kind,))
        return str(part.get_content()) if part is not None else ""

    def as_dict(self) -> dict[str, Any]:
        """What the page and the tests read."""
        return {
            "kind": "mail",
            "id": self.id,
            "number": self.number,
            "received_at": self.received_at.isoformat(),
            "from": str(self.message.get("from", self.sender)),
            "to": self.recipients,
            "subject": str(self.message.get("subject", "")),
            "text": self.body("plain"),
            "html": self.body("html"),
            "headers": {name.lower(): str(text) for name, text in self.message.items()},
        }


@dataclass(frozen=True)
class Sms:
    """One text message as it came through the gateway."""

    number: int
    id: str
    received_at: datetime
    recipient: str
    text: str
    idempotency_key: str | None

    def as_dict(self) -> dict[str, Any]:
        """What the page and the tests read."""
        return {
            "kind": "sms",
            "id": self.id,
            "number": self.number,
            "received_at": self.received_at.isoformat(),
            "to": self.recipient,
            "text": self.text,
            "idempotency_key": self.idempotency_key,
        }


class Inbox:
    """The file of received messages. One process, one thread: SQLite needs no more here."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        self._database.close()

    def add_mail(
        self, *, sender: str, recipients: list[str], raw: bytes, received_at: datetime
    ) -> str:
        """Keep a mail and return its id."""
        mail_id = f"mail-{uuid4().hex}"
        self._database.execute(
            "INSERT INTO mail (id, received_at, sender, recipients, raw) VALUES (?, ?, ?, ?, ?)",
            (mail_id, received_at.isoformat(), sender, json.dumps(recipients), raw),
        )
        self._trim("mail")
        return mail_id

    def add_sms(
        self, *, recipient: str, text: str, idempotency_key: str | None, received_at: datetime
    ) -> tuple[Sms, bool]:
        """Keep a text message; the second value says whether it is new.

        Raises KeyReused where the key was used with another recipient or text.
        """
        fingerprint = hashlib.sha256(f"{recipient}\0{text}".encode()).hexdigest()
        known = self._sms_of_key(idempotency_key, fingerprint) if idempotency_key else None
        if known is not None:
            return known, False
        sms_id = f"sms-{uuid4().hex}"
        self._database.execute(
            "INSERT INTO sms (id, received_at, recipient, text, idempotency_key, fingerprint)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (sms_id, received_at.isoformat(), recipient, text, idempotency_key, fingerprint),
        )
        self._trim("sms")
        return cast(Sms, self.sms(sms_id)), True

    def _sms_of_key(self, key: str, fingerprint: str) -> Sms | None:
        row = self._database.execute(
            "SELECT id, fingerprint FROM sms WHERE idempotency_key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        if row[1] != fingerprint:
            raise KeyReused(key)
        return self.sms(row[0])

    def mails(self) -> list[Mail]:
        """All mails, the newest first."""
        return [_mail(row) for row in self._database.execute(_MAILS + " ORDER BY number DESC")]

    def mail(self, mail_id: str) -> Mail | None:
        row = self._database.execute(_MAILS + " WHERE id = ?", (mail_id,)).fetchone()
        return _mail(row) if row else None

    def texts(self) -> list[Sms]:
        """All text messages, the newest first."""
        return [_sms(row) for row in self._database.execute(_TEXTS + " ORDER BY number DESC")]

    def sms(self, sms_id: str) -> Sms | None:
        row = self._database.execute(_TEXTS + " WHERE id = ?", (sms_id,)).fetchone()
        return _sms(row) if row else None

    def clear(self) -> None:
        self._database.executescript("DELETE FROM mail; DELETE FROM sms;")

    def _trim(self, table: str) -> None:
        self._database.execute(
            f"DELETE FROM {table} WHERE number <= (SELECT max(number) FROM {table}) - {KEPT}"  # noqa: S608
        )


_MAILS = "SELECT number, id, received_at, sender, recipients, raw FROM mail"
_TEXTS = "SELECT number, id, received_at, recipient, text, idempotency_key FROM sms"


def _mail(row: tuple[int, str, str, str, str, bytes]) -> Mail:
    number, mail_id, received_at, sender, recipients, raw = row
    message = message_from_bytes(raw, policy=policy.default)
    return Mail(
        number=number,
        id=mail_id,
        received_at=datetime.fromisoformat(received_at),
        sender=sender,
        recipients=json.loads(recipients),
        message=message,
    )


def _sms(row: tuple[int, str, str, str, str, str | None]) -> Sms:
    number, sms_id, received_at, recipient, text, key = row
    return Sms(number, sms_id, datetime.fromisoformat(received_at), recipient, text, key)
