"""The fault laboratory: the product's processes under load, one fault after another, and the promises checked after each.

`scripts/faultlab` runs it. Nothing here is a test by itself; `tests/e2e/test_faultlab.py` runs a few of the faults.
"""
