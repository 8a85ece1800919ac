"""The stage of the gateway tests, for attacks on it."""

from tests.integration.gateway.conftest import build_stage, sdk_port, stage, urls

__all__ = ["build_stage", "sdk_port", "stage", "urls"]
