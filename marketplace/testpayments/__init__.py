"""Test payments: a Stripe and a PayPal of our own, one process each, for development and tests.

They speak the providers' wire for every call that the product makes, so that the product's adapters and the provider's SDK run
unmodified against them. What they know is on disk, in one file each; money exists in them alone. They listen on the loopback
address, and `scripts/up` starts them where no keys of a provider are configured (docs/payments.md).
"""
