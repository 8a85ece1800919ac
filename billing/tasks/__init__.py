"""Jobs of billing, one module a subject; what is imported here is what Celery finds."""
