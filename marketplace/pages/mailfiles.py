"""Reading the mails that Django's file backend writes: one file per connection, messages divided by a line of hyphens."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

_DIVIDER = b"\n" + b"-" * 79 + b"\n"
_FILE_BYTES_MAX = 5_000_000
LIST_MAX = 200


@dataclass(frozen=True, slots=True)
class Mail:
    name: str
    subject: str
    sender: str
    recipients: str
    sent_at: datetime | None
    text: str


def list_mails(folder: Path) -> list[Mail]:
    """The newest mails first, at most LIST_MAX."""
    mails: list[Mail] = []
    for path in _files(folder):
        mails += reversed(list(_read(path)))
        if len(mails) >= LIST_MAX:
            break
    return mails[:LIST_MAX]


def find_mail(folder: Path, name: str) -> Mail | None:
    """One mail by the name that the list gave it. The name is compared with what is there, never made into a path."""
    for path in _files(folder):
        if name.startswith(f"{path.stem}."):
            return next((mail for mail in _read(path) if mail.name == name), None)
    return None


def _files(folder: Path) -> list[Path]:
    """Newest first: the file names begin with the time, and the folder may not exist before the first mail."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.suffix == ".log" and path.is_file()), reverse=True)


def _read(path: Path) -> Iterator[Mail]:
    with path.open("rb") as file:
        content = file.read(_FILE_BYTES_MAX)
    parts = [part for part in content.split(_DIVIDER) if part.strip()]
    for number, part in enumerate(parts, start=1):
        yield _mail(f"{path.stem}.{number}", email.message_from_bytes(part.lstrip(), policy=email.policy.default))


def _mail(name: str, message: EmailMessage) -> Mail:
    body = message.get_body(("plain", "html"))
    return Mail(
        name=name,
        subject=str(message["Subject"] or "(no subject)"),
        sender=str(message["From"] or ""),
        recipients=str(message["To"] or ""),
        sent_at=_date(message),
        text=str(body.get_content()) if body is not None else "",
    )


def _date(message: EmailMessage) -> datetime | None:
    """When it was sent; a zone of "-0000" means UTC without a place (RFC 5322 section 3.3), which Python reads as none."""
    moment: datetime | None = getattr(message["Date"], "datetime", None)
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
