"""Log lines as one JSON object each, with control characters escaped, so that no value can forge a second line.

Of what a caller of the logger adds, only the fields of a list are written, and what looks like a credential or an address of a
person is masked wherever it stands, exceptions of others included. Arguments and results of calls are never logged at all.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime

# What `extra=` may add; anything else is left out, as whoever adds it has to think about what it shows.
FIELDS = frozenset(
    {
        "call_id", "client_id", "counts", "error", "job", "key_id", "kind", "request_id", "rows", "schema", "sequence", "server",
        "server_id", "status_code", "subject", "why",
    }
)  # fmt: skip

_SECRETS = re.compile(
    r"\bmk_[a-z]+_[A-Za-z0-9]+_[A-Za-z0-9_-]+"  # our keys
    r"|\b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # signed tokens
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user and password of an address
    r"|[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}\b"
)
_MASK = "[masked]"


class JSONFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": masked(record.getMessage()),
            **{name: _shown(value) for name, value in vars(record).items() if name in FIELDS},
        }
        if record.exc_info:
            line["exception"] = masked(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


def masked(text: str) -> str:
    """The text without what looks like a credential or a mail address."""
    return _SECRETS.sub(_MASK, text)


def _shown(value: object) -> object:
    return masked(value) if isinstance(value, str) else value
