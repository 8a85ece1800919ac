from __future__ import annotations

import json

import pytest

from core import errors

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.MarketplaceError) and kind is not errors.MarketplaceError
]


class TestKinds:
    def test_each_kind_has_a_code_and_a_status_of_its_own(self):
        assert len({kind.code for kind in KINDS}) == len(KINDS)
        assert len({kind.status for kind in KINDS}) == len(KINDS)

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_says_what_happened_and_what_to_do_without_being_told(self, kind):
        error = kind()

        assert error.message.endswith(".")
        assert error.next_step.endswith(".")
        assert 400 <= error.status < 600

    def test_only_failures_that_may_pass_can_be_repeated(self):
        assert {kind.status for kind in KINDS if kind.retryable} == {429, 502, 503, 504}


class TestAsProblem:
    def test_it_has_the_members_of_rfc_9457_and_ours(self):
        error = errors.NotFoundError("No such key.", code="tenants.key_missing", next_step="Look again.", field="key")

        assert error.as_problem() == {
            "type": "urn:mcp-marketplace:error:tenants.key_missing",
            "title": "No such key.",
            "status": 404,
            "code": "tenants.key_missing",
            "next_step": "Look again.",
            "field": "key",
        }

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_can_be_sent_as_json(self, kind):
        assert json.loads(json.dumps(kind(retry_after=3).as_problem()))["retry_after"] == 3

    def test_details_cannot_replace_what_every_problem_says(self):
        problem = errors.ForbiddenError("No.", status=200, title="Yes.", type="other").as_problem()

        assert (problem["status"], problem["title"]) == (403, "No.")
        assert problem["type"] == "urn:mcp-marketplace:error:forbidden"

    def test_the_text_of_the_exception_is_its_message(self):
        assert str(errors.ConflictError("It is gone.")) == "It is gone."
