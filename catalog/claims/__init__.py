"""Organisations that say that a listing of a source is theirs, and how they prove it.

`rules` (pure) says which domain a namespace stands for, `models` keeps the claims, `catalog.services.claiming` is what happens.
"""
