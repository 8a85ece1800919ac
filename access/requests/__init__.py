"""Asking for access and deciding about it: the way from a wish to a grant. Everything runs inside the organisation's schema."""
