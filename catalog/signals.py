"""Facts about servers that higher apps react to. Sent after the commit."""

from django.dispatch import Signal

# What a gateway must know of a server changed: arguments `server_id`, `revision`.
server_changed = Signal()

# Tools were closed because their definitions changed: arguments `server_id`, `tools` (names).
tools_quarantined = Signal()
