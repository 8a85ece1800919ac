"""Whose data the database connection of this thread shows.

These are the only ways to enter an organisation's schema outside a web request. They are synchronous on purpose: the search
path lives on the thread's connection, and a coroutine that sets it and then awaits reads another task's organisation. Async
code calls one synchronous function through `run_in_tenant`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.db import connection as django_connection
from django_tenants.utils import schema_context

if TYPE_CHECKING:
    from tenants.models import Tenant
    from tenants.postgresql.base import DatabaseWrapper

P = ParamSpec("P")
R = TypeVar("R")

PLATFORM = "platform"

# Django types its connection by the base class; ours is always the backend of tenants.postgresql.
connection = cast("DatabaseWrapper", django_connection)


@contextmanager
def viewer(who: UUID | str) -> Iterator[None]:
    """Let catalog rows of one organisation (its id), of everybody (`PLATFORM`) or only public ones ('') through."""
    previous = connection.viewer
    connection.set_viewer(str(who))
    try:
        yield
    finally:
        connection.set_viewer(previous)


@contextmanager
def tenant_scope(tenant: Tenant) -> Iterator[Tenant]:
    """Work inside one organisation: its schema first in the search path, its catalog rows visible."""
    with schema_context(tenant.schema_name), viewer(tenant.pk):
        yield tenant


@contextmanager
def platform_scope() -> Iterator[None]:
    """Work for the platform: the public schema, every catalog row. For operators, jobs and the snapshot compiler only."""
    with schema_context("public"), viewer(PLATFORM):
        yield


async def run_in_tenant(
    tenant: Tenant, function: Callable[Concatenate[Tenant, P], R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run a synchronous function inside an organisation from a coroutine: one hop, one connection, no shared state."""

    def work() -> Any:
        close_old_connections()
        try:
            with tenant_scope(tenant):
                return function(tenant, *args, **kwargs)
        finally:
            close_old_connections()

    return await sync_to_async(work, thread_sensitive=True)()
