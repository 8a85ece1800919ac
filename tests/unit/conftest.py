"""Settings of the generated tests: no deadline, because a slow machine is not a bug, and the same examples in every run."""

from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=True, database=None, max_examples=100)
settings.load_profile("suite")
