"""How listed servers do: asking them every few minutes, what follows from the answers, and telling people.

`rules` decide and know nothing else; `checks` ask; `rounds` choose whom to ask and store what was found; `incidents` open and
close what people are told of. Pages read through `catalog.selectors.health`.
"""
