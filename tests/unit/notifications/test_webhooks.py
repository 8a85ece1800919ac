from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from notifications import webhooks

# The example of the Standard Webhooks reference libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
ACME = {"id": "1", "slug": "acme", "name": "Acme"}


class TestSignature:
    def test_the_reference_example_of_standard_webhooks_comes_out(self):
        assert webhooks.signature_headers(MESSAGE, AT, BODY, [SECRET]) == {
            "webhook-id": MESSAGE,
            "webhook-timestamp": "1614265330",
            "webhook-signature": SIGNATURE,
        }

    def test_each_secret_in_use_signs(self):
        other = webhooks.mint_secret()
        first, second = webhooks.signature_headers(MESSAGE, AT, BODY, [other, SECRET])["webhook-signature"].split(" ")

        key = b64decode(other.removeprefix("whsec_"))
        signed = f"{MESSAGE}.1614265330.".encode() + BODY
        assert first == "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert second == SIGNATURE

    def test_secrets_are_of_32_bytes_and_never_the_same(self):
        secrets = {webhooks.mint_secret() for _ in range(20)}

        assert len(secrets) == 20
        assert {len(b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}


class TestPauses:
    @given(st.randoms(use_true_random=False))
    def test_they_grow_and_the_last_attempt_is_within_a_day(self, random):
        pauses = [webhooks.pause_after(tries, random) for tries in range(1, 9)]

        assert None not in pauses
        assert sum(pauses, timedelta()) < timedelta(hours=24)
        assert pauses[:6] == sorted(pauses[:6])

    def test_chance_spreads_them(self):
        assert len({webhooks.pause_after(3, Random(seed)) for seed in range(5)}) == 5

    def test_after_the_ninth_there_is_none(self):
        assert webhooks.pause_after(9, Random(1)) is None


class TestBodies:
    def test_the_standard_body_says_what_when_and_whose(self):
        body = webhooks.standard_body("access.grant.given", AT, MESSAGE, ACME, {"server": "Päyments"})

        assert json.loads(body) == {
            "id": MESSAGE,
            "type": "access.grant.given",
            "timestamp": "2021-02-25T15:02:10+00:00",
            "organisation": ACME,
            "data": {"server": "Päyments"},
        }

    def test_slack_gets_a_text_with_the_facts_and_the_page(self):
        data = {"server": "Payments", "agent_name": "bot", "url": "/o/acme/access/", "tools": ["a"]}
        text = json.loads(webhooks.slack_body("access.grant.given", ACME, data, "https://m.example"))["text"]

        assert text.splitlines() == [
            "*Acme*: A grant was given",
            "• server: Payments",
            "• agent name: bot",
            "<https://m.example/o/acme/access/|Open>",
        ]

    def test_nothing_that_somebody_wrote_becomes_markup_or_a_link_elsewhere(self):
        for url in ("//evil.example", "/\\evil.example", "https://evil.example", "/x|<!channel>"):
            data = {"reason": "<!channel> & *bold* `code`\nnext", "url": url}
            text = json.loads(webhooks.slack_body("access.request.opened", ACME, data, "https://m.example"))["text"]

            assert text.splitlines()[1:] == ["• reason: &lt;!channel&gt; &amp; bold 'code' next"]
