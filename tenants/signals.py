"""Facts about organisations that higher apps react to. Sent after the commit."""

from django.dispatch import Signal

# A schema exists and is empty: argument `tenant`. Sent inside the creating transaction's schema work, so that receivers
# may prepare it (partitions) before anybody sees the organisation.
tenant_prepared = Signal()

# Keys, grants or the state of an organisation changed: arguments `tenant_id`, `revision`, and `ended`, the ids of keys, consents,
# grants and sessions that were taken back. Sent after the commit.
policy_changed = Signal()

# The keys that sign for the platform changed. Sent after the commit.
signing_keys_changed = Signal()
