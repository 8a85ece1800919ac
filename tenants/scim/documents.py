"""Resources as SCIM writes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tenants.models import DirectoryGroup, DirectoryUser, Tenant
from tenants.scim.reading import PAGE_MAX, Page

USER, GROUP = "urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:core:2.0:Group"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
_TYPE, _SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:ResourceType", "urn:ietf:params:scim:schemas:core:2.0:Schema"


def user(row: DirectoryUser, base: str) -> dict[str, Any]:
    names = {"givenName": row.given_name, "familyName": row.family_name}
    whole = " ".join(part for part in names.values() if part)
    return {
        "schemas": [USER],
        "id": str(row.pk),
        **({"externalId": row.external_id} if row.external_id else {}),
        "userName": row.user_name,
        "name": {**{name: part for name, part in names.items() if part}, **({"formatted": whole} if whole else {})},
        "displayName": row.display_name or whole or row.user_name,
        "emails": [{"value": row.user.email, "type": "work", "primary": True}],
        "active": row.active,
        "meta": _meta("User", row, f"{base}/Users/{row.pk}"),
    }


def group(row: DirectoryGroup, members: Iterable[DirectoryUser] | None, base: str) -> dict[str, Any]:
    """`members` is None where they were not asked for."""
    listed = (
        {}
        if members is None
        else {
            "members": [
                {"value": str(each.pk), "display": each.user_name, "$ref": f"{base}/Users/{each.pk}"}
                for each in members
            ]
        }
    )
    return {
        "schemas": [GROUP],
        "id": str(row.pk),
        **({"externalId": row.external_id} if row.external_id else {}),
        "displayName": row.team.name,
        **listed,
        "meta": _meta("Group", row, f"{base}/Groups/{row.pk}"),
    }


def listing(resources: list[dict[str, Any]], total: int, page: Page) -> dict[str, Any]:
    return {
        "schemas": [LIST],
        "totalResults": total,
        "startIndex": page.start,
        "itemsPerPage": len(resources),
        "Resources": resources,
    }


def config(tenant: Tenant, base: str) -> dict[str, Any]:
    return {
        "schemas": [_CONFIG],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": PAGE_MAX},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": False},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": f"A token that an admin of {tenant.name} made on its sign-in page.",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"},
    }


def types(base: str) -> list[dict[str, Any]]:
    return [
        {
            "schemas": [_TYPE],
            "id": name,
            "name": name,
            "endpoint": f"/{name}s",
            "schema": schema,
            "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{name}"},
        }
        for name, schema in (("User", USER), ("Group", GROUP))
    ]


def schemas(base: str) -> list[dict[str, Any]]:
    return [
        _schema(
            USER,
            "User",
            base,
            [
                _attribute("userName", required=True, unique=True),
                _attribute("externalId", exact=True),
                _attribute("displayName"),
                _attribute("active", kind="boolean"),
                _complex(
                    "name", [_attribute("givenName"), _attribute("familyName"), _attribute("formatted", fixed=True)]
                ),
                _complex(
                    "emails",
                    [_attribute("value"), _attribute("type"), _attribute("primary", kind="boolean")],
                    many=True,
                ),
            ],
        ),
        _schema(
            GROUP,
            "Group",
            base,
            [
                _attribute("displayName", required=True),
                _attribute("externalId", exact=True),
                _complex("members", [_attribute("value", exact=True), _attribute("display", fixed=True)], many=True),
            ],
        ),
    ]


def _schema(urn: str, name: str, base: str, attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schemas": [_SCHEMA],
        "id": urn,
        "name": name,
        "attributes": attributes,
        "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{urn}"},
    }


def _attribute(
    name: str,
    *,
    kind: str = "string",
    required: bool = False,
    unique: bool = False,
    exact: bool = False,
    fixed: bool = False,
) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "multiValued": False,
        "required": required,
        "caseExact": exact,
        "mutability": "readOnly" if fixed else "readWrite",
        "returned": "default",
        "uniqueness": "server" if unique else "none",
    }


def _complex(name: str, parts: list[dict[str, Any]], *, many: bool = False) -> dict[str, Any]:
    return {**_attribute(name, kind="complex"), "multiValued": many, "subAttributes": parts}


def _meta(kind: str, row: DirectoryUser | DirectoryGroup, location: str) -> dict[str, str]:
    return {
        "resourceType": kind,
        "created": row.created_at.isoformat(),
        "lastModified": row.updated_at.isoformat(),
        "location": location,
    }
