"""Who may go on to a server, and when: limits, quotas, spending caps, concurrency, breakers, endpoints.

Everything is decided from memory. What several processes share is reconciled through Valkey beside the calls, never in them.
"""
