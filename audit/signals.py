"""Facts about logs that higher apps react to. Sent after the commit."""

from django.dispatch import Signal

# A checkpoint of a log was signed: argument `statement` (audit.statements.Statement), which names the log by its schema.
checkpoint_made = Signal()
