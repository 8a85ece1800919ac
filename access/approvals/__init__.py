"""A person approves a single call: asked for by a gateway, decided on a page or by program, used once."""
