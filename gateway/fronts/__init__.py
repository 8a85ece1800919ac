"""How the gateway speaks to clients itself, when it does not simply pass bytes on."""
