"""The playground: a person runs a tool through the gateway, as any client does, and sees the whole governed request path."""
