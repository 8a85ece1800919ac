"""The fake Stripe: API version 2026-10-28.endive, as far as the product asks."""
