"""Refusals as RFC 7644, 3.12 writes them."""

from __future__ import annotations

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


class ScimError(Exception):
    """`kind` is one of the standard's words for 400 and 409, or blank."""

    def __init__(self, status: int, detail: str, kind: str = "") -> None:
        super().__init__(detail)
        self.status, self.detail, self.kind = status, detail, kind

    def document(self) -> dict[str, object]:
        kind = {"scimType": self.kind} if self.kind else {}
        return {"schemas": [ERROR], "status": str(self.status), "detail": self.detail, **kind}


def invalid(detail: str, kind: str = "invalidValue") -> ScimError:
    return ScimError(400, detail, kind)
