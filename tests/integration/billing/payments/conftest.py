from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.payment_providers import Fake


@pytest.fixture(scope="package")
def stripe_fake(tmp_path_factory) -> Iterator[Fake]:
    fake = Fake("stripe", tmp_path_factory.mktemp("stripe")).start()
    yield fake
    fake.kill()


@pytest.fixture(scope="package")
def paypal_fake(tmp_path_factory) -> Iterator[Fake]:
    fake = Fake("paypal", tmp_path_factory.mktemp("paypal")).start()
    yield fake
    fake.kill()
