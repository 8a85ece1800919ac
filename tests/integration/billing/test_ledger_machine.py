"""Any sequence of events keeps the ledger true. Short here; `scripts/prove` runs it for minutes and prints its seeds."""

from __future__ import annotations

import os
import secrets
import time

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tenants.context import platform_scope
from tests.support.cast import make_person
from tests.support.ledger_machine import LedgerMachine

SECONDS, SEED = int(os.environ.get("PROVE_SECONDS", "0")), os.environ.get("PROVE_SEED", "")


@pytest.fixture
def machine(cast):
    second = make_person("Otto", "otto@marketplace.example", operator=True)
    with platform_scope():
        yield type("Machine", (LedgerMachine,), {"operators": (cast.olga, second)})


def test_any_sequence_of_events_keeps_the_ledger_true(machine):
    until = time.monotonic() + SECONDS
    while True:
        number = int(SEED) if SEED else secrets.randbelow(2**32) if SECONDS else 20_281_103
        print(f"seed {number}", flush=True)
        run_state_machine_as_test(
            seed(number)(machine),
            settings=settings(
                max_examples=5 if SECONDS else 6,
                stateful_step_count=40 if SECONDS else 25,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
        if SEED or time.monotonic() >= until:
            break
