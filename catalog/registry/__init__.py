"""The read API of the MCP registry (`/v0.1/servers…`): this marketplace as a sub-registry.

Whoever asks sees what `catalog.selectors.listing.visible_to` lets them see: anybody the public servers, a key also those of its
organisation and team. Documents are `server.json` out of the normal form; what only we know stands under our own `_meta` key.
"""
