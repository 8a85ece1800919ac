"""Jobs of billing, one module a subject; what is imported here is what Celery finds."""

from billing.tasks import prices

__all__ = ["prices"]
