"""Jobs of billing, one module a subject; what is imported here is what Celery finds."""

from billing.tasks import periods, prices

__all__ = ["periods", "prices"]
