"""Peers that others wrote, met through the gateway: the official conformance suite, and clients and servers of several SDKs.

What they need is fetched into `var/peers` (see `fetched`), never committed; without a registry these tests skip and say so.
"""
