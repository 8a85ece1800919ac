"""The test gateway of a process that may use compiled modules: they have to be found before the first of them is imported."""

import gateway
from tests.support.gateways import process_app

__all__ = ["gateway", "process_app"]
