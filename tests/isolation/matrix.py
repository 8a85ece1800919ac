"""What every URL answers to whom. A URL that is missing here fails the build, and so does a line without a URL.

Columns: alice owns acme, bob is a member of it, charlie belongs to globex, nobody has signed in, olga runs the platform.
The paths name acme and things of acme. 404 and not 403 for another organisation's things: they are not there.
"""

from __future__ import annotations

from dataclasses import dataclass

type_statuses = int | frozenset[int]

WAYS = frozenset({200, 301, 302, 401, 404})  # pages of a library, whose flows redirect as they need
OPERATOR = frozenset({200, 301, 302, 403, 404, 405})  # the admin decides by model; never a failure


@dataclass(frozen=True)
class Row:
    alice: type_statuses
    bob: type_statuses
    charlie: type_statuses
    anonymous: type_statuses
    olga: type_statuses

    def allows(self, actor: str, status: int) -> bool:
        wanted = getattr(self, actor)
        return status == wanted if isinstance(wanted, int) else status in wanted


EVERYBODY = Row(200, 200, 200, 200, 200)
MEMBERS = Row(200, 200, 404, 302, 404)
MANAGERS = Row(200, 403, 404, 302, 404)
SENDS_ON = Row(302, 302, 404, 302, 404)
MANAGERS_SEND_ON = Row(302, 403, 404, 302, 404)
POST_ONLY = Row(405, 405, 405, 405, 405)
SIGNED_IN = Row(200, 200, 200, 302, 200)
OPERATORS = Row(404, 404, 404, 302, 200)
KEYS_ONLY = Row(401, 401, 401, 401, 401)
# MCP Runtime's API takes a member's session beside keys; an operator belongs to no organisation.
RUNTIME_LIST = Row(200, 200, 200, 401, 403)
RUNTIME_THING = Row(200, 200, 403, 401, 403)
RUNTIME_POST = Row(405, 405, 405, 401, 403)
LIBRARY = Row(WAYS, WAYS, WAYS, WAYS, WAYS)

EXPECTED: dict[str, Row] = {
    "catalog:home": EVERYBODY,
    "catalog:suggest": EVERYBODY,
    "catalog:tools": EVERYBODY,
    "catalog:search-save": POST_ONLY,
    "catalog:search-remove": POST_ONLY,
    "catalog:compare": EVERYBODY,
    "catalog:server": Row(200, 200, 404, 404, 404),
    "catalog:status": Row(200, 200, 404, 404, 404),
    "catalog:status-json": Row(200, 200, 404, 404, 404),
    "catalog:icon": Row(404, 404, 404, 404, 404),  # the server of the paths came from no source, so it has no picture
    "catalog:reach": POST_ONLY,
    "landing": Row(302, 302, 302, 302, 302),
    "organisation-create": SIGNED_IN,
    # Who holds the link may read it; only the invited address may use it.
    "invitation-accept": Row(403, 403, 403, 200, 403),
    "org:home": SENDS_ON,
    "org:calls": MEMBERS,
    "org:call": MEMBERS,
    "org:live": MEMBERS,
    "org:playground": MEMBERS,
    "org:playground-tool": MEMBERS,
    # A run is its person's own until they share it.
    "org:playground-run": Row(200, 404, 404, 302, 404),
    "org:playground-cancel": Row(405, 405, 404, 302, 404),
    "org:playground-keep": Row(405, 405, 404, 302, 404),
    "org:playground-remove": Row(405, 405, 404, 302, 404),
    "org:keys": MEMBERS,
    "org:key-create": MANAGERS,
    "org:key-lists": MANAGERS,
    "org:key-identity": MANAGERS,
    "org:key-revoke": MANAGERS,
    "org:application-revoke": MANAGERS,
    "org:access": MEMBERS,
    # A call that waits is for whoever manages access, and for the people whose key it is.
    "org:call-approvals": MEMBERS,
    "org:call-approval": Row(200, 404, 404, 302, 404),
    "org:grant-create": MANAGERS,
    "org:grant-revoke": MANAGERS,
    "org:grant-switch": Row(405, 405, 404, 302, 404),
    "org:sessions": MEMBERS,
    "org:session-create": MANAGERS,
    "org:session-revoke": MANAGERS,
    "org:policies": MEMBERS,
    "org:server-policy": MEMBERS,
    "org:access-explain": MEMBERS,
    "org:access-request": MEMBERS,
    "org:grant-renew": MEMBERS,
    "org:grant-shrink": Row(405, 405, 404, 302, 404),
    "org:requests": MEMBERS,
    "org:request": MEMBERS,  # bob has made it
    "org:request-edit": Row(404, 200, 404, 302, 404),
    "org:request-by-mail": Row(200, 404, 404, 302, 404),  # the mail was alice's
    "org:request-rules": MEMBERS,
    "org:request-rule-remove": Row(405, 405, 404, 302, 404),
    "org:absence": Row(405, 405, 404, 302, 404),
    "org:reviews": MANAGERS,
    "org:review": MANAGERS,
    "org:provider-request": MANAGERS,
    "org:access-files": MANAGERS,
    "org:access-export": MANAGERS,
    "org:access-who": MEMBERS,
    "org:access-can": MEMBERS,
    "org:access-simulate": MANAGERS,
    "org:access-simulation": MANAGERS,
    "org:limits": MEMBERS,
    "org:limit-create": MANAGERS,
    "org:limit-change": MANAGERS,
    "org:limit-remove": MANAGERS,
    "org:connections": MEMBERS,
    "org:connection-create": MEMBERS,
    "org:connection-client": Row(404, 403, 404, 302, 404),  # without naming a server
    "org:connection-client-forget": MANAGERS,
    "org:connection-connect": Row(405, 405, 404, 302, 404),
    "org:connection-callback": SENDS_ON,
    "org:connection-test": Row(405, 405, 404, 302, 404),
    "org:connection-remove": MANAGERS,
    "org:sources": MEMBERS,
    "org:source": MEMBERS,
    "org:source-create": MANAGERS,
    "org:source-change": MANAGERS,
    "org:source-sync": Row(405, 405, 404, 302, 404),
    "org:source-stop": Row(405, 405, 404, 302, 404),
    "org:source-release": Row(405, 405, 404, 302, 404),
    "org:source-remove": MANAGERS,
    "org:servers": MANAGERS,
    "org:server-settings": MANAGERS,
    "org:server-prices": MANAGERS,
    "org:billing": MANAGERS_SEND_ON,
    "org:plan": MANAGERS,
    "org:plan-choose": MANAGERS_SEND_ON,
    "org:plan-cancel": MANAGERS,
    "org:server-gateway": MANAGERS,
    "org:claims": MANAGERS,
    "org:claim-create": Row(404, 403, 404, 302, 404),  # without naming a listing
    "org:claim": MANAGERS,
    "org:claim-give-up": MANAGERS,
    "org:people": MEMBERS,
    "org:invitation-create": MANAGERS_SEND_ON,
    "org:invitation-withdraw": MANAGERS,
    "org:team-create": MANAGERS_SEND_ON,
    "org:team-member-add": Row(405, 405, 404, 302, 404),
    "org:team-member-remove": Row(405, 405, 404, 302, 404),
    "org:member-change": MANAGERS_SEND_ON,
    "org:member-remove": MEMBERS,  # bob asks about himself: everybody may leave
    "org:settings": MEMBERS,
    "org:identity": MANAGERS,
    "org:identity-test": Row(405, 405, 404, 302, 404),
    "org:rename": MANAGERS,
    "org:webhooks": MANAGERS,
    "org:webhook-create": MANAGERS,
    "org:webhook": MANAGERS,
    "org:webhook-change": MANAGERS,
    "org:webhook-secret": MANAGERS,
    "org:webhook-remove": MANAGERS,
    "org:webhook-switch": Row(405, 405, 404, 302, 404),
    "org:webhook-test": Row(405, 405, 404, 302, 404),
    "org:webhook-again": Row(405, 405, 404, 302, 404),
    "org:spend": MANAGERS,
    "org:budgets": MANAGERS,
    "org:spend-csv": MANAGERS,
    "org:invoices": MANAGERS,
    "org:invoice-preview": MANAGERS,
    "org:invoice": MANAGERS,
    "org:invoice-pdf": MANAGERS,
    "org:invoice-csv": MANAGERS,
    "org:invoice-line": MANAGERS,
    "org:credit-note-pdf": MANAGERS,
    "org:billing-profile": MANAGERS,
    "org:audit": MANAGERS,
    "org:audit-checkpoint": MANAGERS,
    "org:audit-export": MANAGERS,
    "org:decisions": MANAGERS,
    "org:operators": MANAGERS,
    "org:operator-end": Row(405, 405, 404, 302, 404),
    "org:earnings": MANAGERS,
    "org:earnings-payouts": MANAGERS,
    "org:earnings-statement": MANAGERS,
    "org:earnings-account": MANAGERS,
    "org:earnings-connected": MANAGERS_SEND_ON,
    "org:earnings-proof": Row(404, 403, 404, 302, 404),  # the link was never mailed
    "org:notifications": MEMBERS,
    "org:cards": MANAGERS,
    "org:card-add": Row(405, 405, 404, 302, 404),
    "org:card-saved": MANAGERS_SEND_ON,
    "org:card-default": Row(405, 405, 404, 302, 404),
    "org:card-remove": MANAGERS,
    "org:payments": MANAGERS,
    "org:payment-confirm": Row(405, 405, 404, 302, 404),
    "org:payment-confirmed": MANAGERS_SEND_ON,
    "org:invoice-pay": Row(405, 405, 404, 302, 404),
    "operations-payment-events": OPERATORS,
    "webhook-stripe": POST_ONLY,
    "webhook-paypal": POST_ONLY,
    "sso": EVERYBODY,
    "sso-callback": Row(403, 403, 403, 403, 403),  # came back from nowhere
    "sso-saml-metadata": EVERYBODY,
    "sso-saml-answer": Row(405, 405, 405, 405, 405),  # providers have browsers post to it
    "sso-saml-back": Row(403, 403, 403, 403, 403),  # came back from nowhere
    "sso-start": Row(404, 404, 404, 404, 404),  # acme has no provider
    "applications": SIGNED_IN,
    "application-revoke": Row(200, 404, 404, 302, 404),
    "oauth-authorize": Row(400, 400, 400, 302, 400),  # asked for nothing
    "oauth-token": POST_ONLY,
    "oauth-register": POST_ONLY,
    "oauth-revoke": POST_ONLY,
    "oauth-metadata": EVERYBODY,
    "openid-metadata": EVERYBODY,
    "operations-billing-payouts": OPERATORS,
    "operations-billing-payout": OPERATORS,
    "operations-billing-payees": OPERATORS,
    "operations-billing-ledger": OPERATORS,
    "operations-billing-accounts": OPERATORS,
    "operations-billing-booking": OPERATORS,
    "operations-billing-reconciliation": OPERATORS,
    "operations-billing-reconciliation-item": OPERATORS,
    "operations-settings": OPERATORS,
    "operations-records": OPERATORS,
    "operations-quarantine": OPERATORS,
    "operations-billing": OPERATORS,
    "operations-billing-steps": Row(404, 404, 404, 302, 405),
    "operations-invoice": OPERATORS,
    "operations-import": OPERATORS,
    # The server of the paths is acme's own, and operators govern listings of the shared catalog.
    "operations-adopt": Row(404, 404, 404, 302, 404),
    "operations-claims": OPERATORS,
    "operations-health": OPERATORS,
    "operations-live": OPERATORS,
    "operations-sources": OPERATORS,
    "operations-source-create": OPERATORS,
    # The source of the paths is acme's, and operators' pages are of the platform's own.
    "operations-source": Row(404, 404, 404, 302, 404),
    "operations-source-change": Row(404, 404, 404, 302, 404),
    "operations-source-sync": Row(404, 404, 404, 302, 405),
    "operations-source-stop": Row(404, 404, 404, 302, 405),
    "operations-source-release": Row(404, 404, 404, 302, 405),
    "operations-source-remove": Row(404, 404, 404, 302, 404),
    "openapi": EVERYBODY,
    # A browser has no key: it sees what is public, and the server of the paths is not.
    "registry:servers": EVERYBODY,
    "registry:versions": Row(404, 404, 404, 404, 404),
    "registry:version": Row(404, 404, 404, 404, 404),
    "registry:older-servers": EVERYBODY,
    "registry:older-versions": Row(404, 404, 404, 404, 404),
    "registry:older-version": Row(404, 404, 404, 404, 404),
    "jwks": EVERYBODY,
    "mcp-catalog": EVERYBODY,
    "server-card": Row(404, 404, 404, 404, 404),  # the server of the paths is not public, and cards are for anybody
    "invoke-openapi": EVERYBODY,
    "oauth-client": EVERYBODY,
    "connection-came-back": Row(404, 404, 404, 302, 404),
    "healthz": EVERYBODY,
    "readyz": EVERYBODY,
    "runtime:servers": RUNTIME_LIST,
    "runtime:server": RUNTIME_THING,
    "runtime:tools": RUNTIME_LIST,
    "runtime:teams": RUNTIME_LIST,
    "runtime:team": Row(200, 403, 404, 401, 403),
    "runtime:members": Row(200, 403, 404, 401, 403),
    "runtime:member": RUNTIME_POST,
    "runtime:namespaces": RUNTIME_LIST,
    "runtime:namespace": RUNTIME_THING,
    "runtime:grants": RUNTIME_LIST,
    "runtime:grant": RUNTIME_THING,
    "runtime:sessions": RUNTIME_LIST,
    "runtime:session": RUNTIME_THING,
    "runtime:grant-enable": RUNTIME_POST,
    "runtime:grant-disable": RUNTIME_POST,
    "runtime:session-revoke": RUNTIME_POST,
    "runtime:session-unrevoke": RUNTIME_POST,
    "runtime:policy": Row(400, 403, 400, 401, 403),  # of no server in particular
    "runtime:adapter-sessions": RUNTIME_POST,
    # Development only.
    "styleguide": EVERYBODY,
    "mailbox": EVERYBODY,
    "mailbox-mail": Row(404, 404, 404, 404, 404),
}
EXPECTED |= {
    name.replace("runtime:", "runtime-v1:"): row for name, row in EXPECTED.items() if name.startswith("runtime:")
}
# The longest beginning that fits counts.
GROUPS: dict[str, Row] = {
    "admin:": Row(404, 404, 404, 302, OPERATOR),
    "account_": LIBRARY,
    "mfa_": LIBRARY,
    "socialaccount_": LIBRARY,
    "accounts/social/": LIBRARY,
    "usersessions_": LIBRARY,
    "api:": KEYS_ONLY,
    "scim-": KEYS_ONLY,
}
# What bob, a member without rights, gets when he posts to a page of his own organisation.
BOB_POSTS: dict[str, int] = {
    "org:home": 302,
    "org:calls": 405,
    "org:call": 405,
    "org:playground": 405,
    "org:playground-tool": 200,
    "org:playground-run": 405,
    "org:playground-cancel": 404,
    "org:playground-keep": 404,
    "org:playground-remove": 404,
    "org:keys": 405,
    "org:key-create": 403,
    "org:earnings": 405,
    "org:earnings-payouts": 405,
    "org:earnings-statement": 405,
    "org:earnings-account": 403,
    "org:earnings-connected": 405,
    "org:earnings-proof": 403,
    "org:key-lists": 403,
    "org:key-identity": 403,
    "org:key-revoke": 403,
    "org:application-revoke": 403,
    "org:access": 405,
    "org:call-approvals": 405,
    "org:call-approval": 404,
    "org:grant-create": 403,
    "org:grant-revoke": 403,
    "org:grant-switch": 403,
    "org:sessions": 405,
    "org:session-create": 403,
    "org:session-revoke": 403,
    "org:policies": 405,
    "org:server-policy": 403,
    "org:access-explain": 405,
    "org:access-request": 200,
    "org:grant-renew": 302,
    "org:grant-shrink": 403,
    "org:requests": 405,
    "org:request": 200,
    "org:request-edit": 200,
    "org:request-by-mail": 404,
    "org:request-rules": 403,
    "org:request-rule-remove": 403,
    "org:absence": 302,
    "org:reviews": 403,
    "org:review": 403,
    "org:provider-request": 403,
    "org:access-files": 403,
    "org:access-export": 405,
    "org:live": 405,
    "org:access-who": 405,
    "org:access-can": 405,
    "org:access-simulate": 403,
    "org:access-simulation": 405,
    "org:limits": 405,
    "org:limit-create": 403,
    "org:limit-change": 403,
    "org:limit-remove": 403,
    "org:connections": 405,
    "org:connection-create": 403,
    "org:connection-client": 403,
    "org:connection-client-forget": 403,
    "org:connection-connect": 404,
    "org:connection-callback": 405,
    "org:connection-test": 403,
    "org:connection-remove": 403,
    "org:sources": 405,
    "org:source": 405,
    "org:source-create": 403,
    "org:source-change": 403,
    "org:source-sync": 403,
    "org:source-stop": 403,
    "org:source-release": 403,
    "org:source-remove": 403,
    "org:servers": 405,
    "org:server-settings": 403,
    "org:server-prices": 403,
    "org:billing": 405,
    "org:plan": 405,
    "org:plan-choose": 403,
    "org:plan-cancel": 403,
    "org:server-gateway": 403,
    "org:claims": 405,
    "org:claim-create": 403,
    "org:claim": 403,
    "org:claim-give-up": 403,
    "org:invoices": 405,
    "org:invoice-preview": 405,
    "org:invoice": 405,
    "org:invoice-pdf": 405,
    "org:invoice-csv": 405,
    "org:invoice-line": 405,
    "org:credit-note-pdf": 405,
    "org:billing-profile": 403,
    "org:people": 405,
    "org:invitation-create": 403,
    "org:invitation-withdraw": 403,
    "org:team-create": 403,
    "org:team-member-add": 403,
    "org:team-member-remove": 403,
    "org:member-change": 403,
    "org:member-remove": 302,
    "org:settings": 403,
    "org:identity": 403,
    "org:identity-test": 403,
    "org:rename": 403,
    "org:webhooks": 405,
    "org:webhook-create": 403,
    "org:webhook": 405,
    "org:webhook-change": 403,
    "org:webhook-secret": 403,
    "org:webhook-remove": 403,
    "org:webhook-switch": 403,
    "org:webhook-test": 403,
    "org:webhook-again": 403,
    "org:spend": 405,
    "org:budgets": 403,
    "org:spend-csv": 405,
    "org:audit": 403,
    "org:audit-checkpoint": 403,
    "org:audit-export": 405,
    "org:decisions": 405,
    "org:operators": 405,
    "org:operator-end": 403,
    "org:notifications": 302,
    "org:cards": 405,
    "org:card-add": 403,
    "org:card-saved": 405,
    "org:card-default": 403,
    "org:card-remove": 403,
    "org:payments": 405,
    "org:payment-confirm": 403,
    "org:payment-confirmed": 405,
    "org:invoice-pay": 403,
}
# Posts of bob that are his to make.
BOB_MAY = {"org:home", "org:member-remove", "org:notifications", "org:grant-renew"}
# Endpoints of programs, which take no cookie for a credential and so need no token against forgery; empty requests are bad.
PROGRAMS = {"oauth-token", "oauth-register", "oauth-revoke"}
# Answers that the holder of a secret link may read, whoever it is.
BY_LINK = {"invitation-accept"}


def expected(name: str) -> Row | None:
    if name in EXPECTED:
        return EXPECTED[name]
    fitting = [prefix for prefix in GROUPS if name.startswith(prefix)]
    return GROUPS[max(fitting, key=len)] if fitting else None
