"""The fake PayPal: Payouts v1, its token, and the check of webhooks."""
