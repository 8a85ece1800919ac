"""Facts about channels that higher apps react to. Sent after the commit."""

from django.dispatch import Signal

# An event waits for endpoints of an organisation: argument `tenant_id`.
webhooks_waiting = Signal()
