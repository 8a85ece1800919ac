"""The data plane. Where its compiled modules were made (`scripts/compile`), this import lets the process find them."""

from core import compiled

compiled.install()
