"""`POST /mcp`: every server that a key may use as one server, so that an agent needs one address and one key.

Names carry the server's identifier in front, lists hold what the caller may use and nothing else, and a call becomes a call of
the server that it names: decided, priced and recorded there, like one that was sent to `/mcp/{server}`. Tools of our own let a
model search what it would otherwise have to load.
"""
