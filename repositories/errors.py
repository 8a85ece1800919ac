"""What can go wrong with a source, in words for whoever looks after it."""

from __future__ import annotations

from datetime import datetime

from core.errors import ConflictError, InvalidError, UpstreamError


class SourceInvalidError(InvalidError):
    code = "repositories.source_invalid"


class SourceTakenError(ConflictError):
    code = "repositories.name_taken"
    default_message = "There is a source of this name."
    default_next_step = "Choose another name."


class SourceBusyError(ConflictError):
    code = "repositories.busy"
    default_message = "This source is being read."
    default_next_step = "Wait until it is done; the page shows how far it is."


class SourceError(UpstreamError):
    """The source did not answer as it should. Trying again may help."""

    code = "repositories.source_failed"
    default_next_step = "It is tried again by itself."


class SourceRefusedError(SourceError):
    """The source answered clearly, and asking again will not change it."""

    code = "repositories.source_refused"
    retryable = False
    default_next_step = "Check the address and the credentials of the source."


class SourceLaterError(SourceError):
    """The source asks to be left alone until a moment."""

    code = "repositories.source_later"

    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until
