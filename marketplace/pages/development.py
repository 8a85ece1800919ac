"""Pages of a development installation: the style guide, and the mails that were sent."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from core.errors import NotFoundError
from marketplace.pages import mailfiles
from marketplace.pages.styleguide import show as styleguide

__all__ = ["mail", "mailbox", "styleguide"]


@require_safe
def mailbox(request: HttpRequest) -> HttpResponse:
    _only_with_mailbox()
    return render(request, "development/mailbox.html", {"mails": mailfiles.list_mails(settings.MAILBOX_DIR)})


@require_safe
def mail(request: HttpRequest, name: str) -> HttpResponse:
    _only_with_mailbox()
    found = mailfiles.find_mail(settings.MAILBOX_DIR, name)
    if found is None:
        raise NotFoundError("There is no such mail.", next_step="Go back to the mailbox.")
    return render(request, "development/mail.html", {"mail": found})


def _only_with_mailbox() -> None:
    if not settings.MAILBOX_PAGE:
        raise NotFoundError
