"""Writing the audit log (`events`), saying what it was (`checkpoints`) and checking that it still is (`verification`)."""

from audit.services.events import SYSTEM, Party, content_of, record
from audit.services.verification import verify

__all__ = ["SYSTEM", "Party", "content_of", "record", "verify"]
