"""Two real MCP servers for a first start, written with the official SDK as any provider would."""
