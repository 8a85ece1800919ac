"""MCP Runtime's management API over our services: its paths, bodies and status codes (requirements C8), our rights and rows.

A namespace is the organisation's short name, the one of a team (`mcp-team-<short name>`), or one of the shared catalog's. Whoever
may administer the organisation may change; everybody else of it reads what they may see.
"""
