"""Jobs of billing, one module a subject; what is imported here is what Celery finds."""

from billing.tasks import earnings, periods, prices

__all__ = ["earnings", "periods", "prices"]
