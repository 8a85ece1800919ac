"""Signing in at somebody else's SAML 2.0 provider: web browser SSO, we ask by redirect, the answer comes by POST. Strictly read.

Only a signed assertion is believed, and of the answer nothing but what its signature covers: claims are read from the bytes that
were verified, never from the document beside them. No document type, no entities, no comments, one assertion, ids that are
unique, exclusive canonicalisation, SHA-256 or better. It has to be for us, for this attempt, of this moment, and for the first
time. No database here. XML libraries are loaded with this module, which is asked for when an organisation uses it: gateways
never do.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml import DigestAlgorithm, SignatureConfiguration, SignatureMethod, XMLVerifier

from core import egress, http
from core.errors import InvalidError, MarketplaceError
from tenants.models import SpentSignIn
from tenants.oidc import Claims, SignInError

SAML, SAMLP = "urn:oasis:names:tc:SAML:2.0:assertion", "urn:oasis:names:tc:SAML:2.0:protocol"
METADATA, DSIG = "urn:oasis:names:tc:SAML:2.0:metadata", "http://www.w3.org/2000/09/xmldsig#"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
EMAIL_FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
_BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_ENVELOPED = f"{DSIG}enveloped-signature"
_NS = {"saml": SAML, "samlp": SAMLP, "md": METADATA, "ds": DSIG}
_METHODS = frozenset(
    {
        SignatureMethod.RSA_SHA256,
        SignatureMethod.RSA_SHA384,
        SignatureMethod.RSA_SHA512,
        SignatureMethod.SHA256_RSA_MGF1,
        SignatureMethod.ECDSA_SHA256,
        SignatureMethod.ECDSA_SHA384,
        SignatureMethod.ECDSA_SHA512,
    }
)
_DIGESTS = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
_CONFIGURATION = SignatureConfiguration(location="./", signature_methods=_METHODS, digest_algorithms=_DIGESTS)
SKEW = timedelta(seconds=60)
ANSWER_BYTES, METADATA_BYTES = 128 * 1024, 512 * 1024
_LONGEST = timedelta(hours=1)
_CERTIFICATES_MAX, _GROUPS_MAX, _TEXT_MAX = 8, 500, 255
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z\Z")
_EMAIL = (
    "email",
    "mail",
    "emailaddress",
    "urn:oid:0.9.2342.19200300.100.1.3",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
)
_NAME = (
    "name",
    "displayname",
    "urn:oid:2.16.840.1.113730.3.1.241",
    "http://schemas.microsoft.com/identity/claims/displayname",
)
_GIVEN = (
    "givenname",
    "firstname",
    "urn:oid:2.5.4.42",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname",
)
_FAMILY = (
    "sn",
    "surname",
    "lastname",
    "urn:oid:2.5.4.4",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname",
)


@dataclass(frozen=True, slots=True)
class Provider:
    """`certificates` are PEM: whose keys may sign."""

    entity_id: str
    sso_url: str
    certificates: tuple[str, ...]
    groups_attribute: str = "groups"


@dataclass(frozen=True, slots=True)
class Us:
    """What we are called, and where answers come to."""

    entity_id: str
    acs_url: str


def our_metadata(us: Us) -> bytes:
    """What an organisation gives to its provider."""
    root = etree.Element(f"{{{METADATA}}}EntityDescriptor", nsmap={"md": METADATA}, entityID=us.entity_id)
    wants = {"AuthnRequestsSigned": "false", "WantAssertionsSigned": "true", "protocolSupportEnumeration": SAMLP}
    role = etree.SubElement(root, f"{{{METADATA}}}SPSSODescriptor", wants)
    etree.SubElement(role, f"{{{METADATA}}}NameIDFormat").text = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
    etree.SubElement(role, f"{{{METADATA}}}NameIDFormat").text = EMAIL_FORMAT
    place = {"Binding": POST, "Location": us.acs_url, "index": "0", "isDefault": "true"}
    etree.SubElement(role, f"{{{METADATA}}}AssertionConsumerService", place)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def fetch_metadata(url: str, allow: egress.AllowList) -> bytes:
    """A provider's metadata from its address, through the egress guard. Raises InvalidError."""
    try:
        with http.client(allow, max_reply_bytes=METADATA_BYTES) as client:
            answer = client.get(url)
    except (MarketplaceError, httpx.HTTPError, ValueError) as error:
        raise _bad_metadata("It could not be read from that address.", "metadata_url") from error
    if answer.status_code != httpx.codes.OK:
        raise _bad_metadata(f"That address answered with HTTP {answer.status_code}.", "metadata_url")
    return answer.content


def read_metadata(data: bytes, allow: egress.AllowList) -> Provider:
    """The one provider that a metadata document describes. Raises InvalidError, saying what is missing."""
    try:
        root = _parsed(data, METADATA_BYTES)
    except SignInError as error:
        raise _bad_metadata(error.message) from error
    found = [root] if root.tag == f"{{{METADATA}}}EntityDescriptor" else root.findall(".//md:EntityDescriptor", _NS)
    found = [each for each in found if each.find("md:IDPSSODescriptor", _NS) is not None]
    if len(found) != 1:
        raise _bad_metadata("It describes no identity provider." if not found else "It describes several providers.")
    role = found[0].find("md:IDPSSODescriptor", _NS)
    url = next(
        (
            each.get("Location", "")
            for each in role.findall("md:SingleSignOnService", _NS)
            if each.get("Binding") == REDIRECT
        ),
        "",
    )
    certificates = tuple(dict.fromkeys(_certificates(role)))
    entity_id = found[0].get("entityID", "").strip()
    if not entity_id or len(entity_id) > 500:
        raise _bad_metadata("It has no entityID.")
    if not certificates:
        raise _bad_metadata("It names no certificate for signing.")
    return Provider(entity_id, _usable(url, allow), certificates)


def _certificates(role: Any) -> Iterator[str]:
    for key in role.findall("md:KeyDescriptor", _NS):
        if key.get("use", "signing") != "signing":
            continue
        for each in key.findall("ds:KeyInfo/ds:X509Data/ds:X509Certificate", _NS)[:_CERTIFICATES_MAX]:
            try:
                found = x509.load_der_x509_certificate(base64.b64decode("".join((each.text or "").split())))
            except ValueError as error:
                raise _bad_metadata("A certificate in it cannot be read.") from error
            yield found.public_bytes(Encoding.PEM).decode()


def _usable(url: str, allow: egress.AllowList) -> str:
    try:
        endpoint = egress.parse_url(url, allow)
    except MarketplaceError as error:
        raise _bad_metadata("It names no address for sign-ins by redirect that can be used.") from error
    if endpoint.scheme != "https" and (endpoint.host, endpoint.port) not in allow:
        raise _bad_metadata("Its address for sign-ins has no TLS.")
    return url


def _bad_metadata(message: str, field: str = "metadata") -> InvalidError:
    return InvalidError(
        message, code="tenants.saml_metadata", field=field, next_step="Copy the provider's whole metadata document."
    )


def sign_in_url(provider: Provider, us: Us, request_id: str, relay_state: str, now: datetime) -> str:
    """Where to send the browser: an unsigned request by redirect (SAML bindings, 3.4)."""
    root = etree.Element(
        f"{{{SAMLP}}}AuthnRequest",
        {
            "ID": request_id,
            "Version": "2.0",
            "IssueInstant": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Destination": provider.sso_url,
            "AssertionConsumerServiceURL": us.acs_url,
            "ProtocolBinding": POST,
        },
        nsmap={"samlp": SAMLP, "saml": SAML},
    )
    etree.SubElement(root, f"{{{SAML}}}Issuer").text = us.entity_id
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(etree.tostring(root)) + packer.flush()
    query = {"SAMLRequest": base64.b64encode(packed).decode(), "RelayState": relay_state}
    return f"{provider.sso_url}{'&' if '?' in provider.sso_url else '?'}{urlencode(query)}"


def claims_of(provider: Provider, us: Us, request_id: str, answer: str, now: datetime) -> Claims:
    """Who it is, by an answer to this request. Raises SignInError, saying what was wrong."""
    try:
        data = base64.b64decode("".join(answer.split()), validate=True)
    except (ValueError, binascii.Error) as error:
        raise SignInError("The provider's answer is not well formed.") from error
    root = _parsed(data, ANSWER_BYTES)
    _check_response(root, provider, us, request_id)
    assertion = _verified(provider, _only_assertion(root))
    until = _check_assertion(assertion, provider, us, request_id, now)
    _use_up(provider, assertion.get("ID", ""), until, now)
    return _claims(provider, assertion)


def _parsed(data: bytes, most: int) -> Any:
    if len(data) > most:
        raise SignInError("The provider's document is too long.")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise SignInError("The provider's document is not well formed.") from error
    if root.getroottree().docinfo.doctype or root.getroottree().docinfo.internalDTD is not None:
        raise SignInError("The provider's document has a document type, which is not taken.")
    # A comment is no part of what is signed, and would cut a name in two for whoever reads the text before it.
    if any(not isinstance(each.tag, str) for each in root.iter()):
        raise SignInError("The provider's document has comments or instructions, which are not taken.")
    return root


def _check_response(root: Any, provider: Provider, us: Us, request_id: str) -> None:
    if root.tag != f"{{{SAMLP}}}Response" or root.get("Version") != "2.0":
        raise SignInError("The provider's answer is no SAML 2.0 response.")
    if root.get("InResponseTo") != request_id:
        raise SignInError("The provider answered another attempt.")
    if root.get("Destination") != us.acs_url:
        raise SignInError("The provider's answer is for another address.")
    issuer = root.find("saml:Issuer", _NS)
    if issuer is not None and _text(issuer) != provider.entity_id:
        raise SignInError("Another provider answered.")
    code = root.find("samlp:Status/samlp:StatusCode", _NS)
    if code is None or code.get("Value") != _SUCCESS:
        inner = code.find("samlp:StatusCode", _NS) if code is not None else None
        said = (inner if inner is not None else code).get("Value", "") if code is not None else "nothing"
        raise SignInError(f"Your organisation's sign-in said: {said.rpartition(':')[2][:80]}")


def _only_assertion(root: Any) -> Any:
    """The assertion, which has nobody beside it: wrapped signatures need a second one, or an id that is there twice."""
    if root.find(".//saml:EncryptedAssertion", _NS) is not None:
        raise SignInError(
            "The provider encrypts its assertions.",
            next_step="Turn the encryption of assertions off; TLS protects them.",
        )
    every = root.findall(".//saml:Assertion", _NS)
    if len(every) != 1 or every[0].getparent() is not root:
        raise SignInError("The provider's answer has not one assertion.")
    ids = [
        value for each in root.iter() for name, value in each.attrib.items() if name.rpartition("}")[2].lower() == "id"
    ]
    if len(ids) != len(set(ids)):
        raise SignInError("Ids in the provider's answer are not unique.")
    assertion = every[0]
    signatures = assertion.findall(".//ds:Signature", _NS)
    if len(signatures) != 1 or signatures[0].getparent() is not assertion:
        raise SignInError("The provider's assertion is not signed.", next_step="Have it sign assertions.")
    return assertion


def _verified(provider: Provider, assertion: Any) -> Any:
    """What a key of the provider signed: these bytes and no others."""
    _check_signature(assertion)
    data = etree.tostring(assertion, with_tail=False)
    for certificate in provider.certificates:
        try:
            found = XMLVerifier().verify(data, x509_cert=certificate, id_attribute="ID", expect_config=_CONFIGURATION)
        except Exception:  # noqa: BLE001, S112 - what a library trips over in a stranger's XML is no signature
            continue
        signed = None if isinstance(found, list) else found.signed_xml  # a list where several signatures were asked for
        if signed is not None and signed.tag == f"{{{SAML}}}Assertion" and signed.get("ID") == assertion.get("ID"):
            return signed
    raise SignInError(
        "The provider's assertion is not signed by a key of its metadata, or the key's certificate is over."
    )


def _check_signature(assertion: Any) -> None:
    """One reference, to the assertion itself, in the one canonical form."""
    info = assertion.find("ds:Signature/ds:SignedInfo", _NS)
    references = info.findall("ds:Reference", _NS) if info is not None else []
    method = info.find("ds:CanonicalizationMethod", _NS) if info is not None else None
    if len(references) != 1 or method is None or method.get("Algorithm") != _EXCLUSIVE:
        raise SignInError("The provider's signature has a form that is not taken.")
    transforms = [each.get("Algorithm") for each in references[0].findall("ds:Transforms/ds:Transform", _NS)]
    is_about_it = assertion.get("ID") and references[0].get("URI") == f"#{assertion.get('ID')}"
    if not is_about_it or transforms != [_ENVELOPED, _EXCLUSIVE]:
        raise SignInError("The provider's signature is about something else.")


def _check_assertion(assertion: Any, provider: Provider, us: Us, request_id: str, now: datetime) -> datetime:
    """SAML profiles, 4.1.4.3; when the assertion ends."""
    issuer = assertion.find("saml:Issuer", _NS)
    if issuer is None or _text(issuer) != provider.entity_id:
        raise SignInError("The provider's assertion names another issuer.")
    conditions = assertion.find("saml:Conditions", _NS)
    if conditions is None:
        raise SignInError("The provider's assertion has no conditions.")
    audiences = [
        {_text(each) for each in rule.findall("saml:Audience", _NS)}
        for rule in conditions.findall("saml:AudienceRestriction", _NS)
    ]
    if not audiences or not all(us.entity_id in each for each in audiences):
        raise SignInError("The provider's assertion is for another application.")
    _check_time(conditions, now)
    if assertion.find("saml:AuthnStatement", _NS) is None:
        raise SignInError("The provider's assertion does not say that somebody signed in.")
    for each in assertion.findall("saml:Subject/saml:SubjectConfirmation", _NS):
        said = each.find("saml:SubjectConfirmationData", _NS)
        if (
            each.get("Method") == _BEARER
            and said is not None
            and said.get("Recipient") == us.acs_url
            and said.get("InResponseTo") == request_id
        ):
            return _check_time(said, now, needs_end=True)
    raise SignInError("The provider's assertion is not for this attempt.")


def _check_time(element: Any, now: datetime, *, needs_end: bool = False) -> datetime:
    begins, ends = _moment(element.get("NotBefore")), _moment(element.get("NotOnOrAfter"))
    if begins is not None and now + SKEW < begins:
        raise SignInError("The provider's assertion is not valid yet; is a clock wrong?")
    if ends is not None and now - SKEW >= ends:
        raise SignInError("The provider's assertion has expired; is a clock wrong?")
    if ends is None and needs_end:
        raise SignInError("The provider's assertion has no end.")
    return ends or now


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    found = _MOMENT.match(text)
    try:
        return datetime.fromisoformat(found[1]).replace(tzinfo=UTC) if found else _unreadable()
    except ValueError:
        return _unreadable()


def _unreadable() -> datetime:
    raise SignInError("The provider's assertion has a time that cannot be read.")


def _use_up(provider: Provider, assertion_id: str, until: datetime, now: datetime) -> None:
    """An assertion lets in once, for as long as it lasts."""
    if until - now > _LONGEST:
        raise SignInError("The provider's assertion lasts too long.", next_step="Have it last minutes.")
    digest = hashlib.sha256(f"{provider.entity_id}\0{assertion_id}".encode()).hexdigest()
    _, is_first = SpentSignIn.objects.get_or_create(digest=digest, defaults={"expires_at": until + 2 * SKEW})
    if not is_first:
        raise SignInError("The provider's assertion was used already.")


def _claims(provider: Provider, assertion: Any) -> Claims:
    name_id = assertion.find("saml:Subject/saml:NameID", _NS)
    if name_id is None or not _text(name_id) or name_id.get("Format") == TRANSIENT:
        raise SignInError(
            "The provider gives no lasting name for the person.",
            next_step="Have it send a persistent NameID, or the address.",
        )
    said: dict[str, list[str]] = {}
    for each in assertion.findall("saml:AttributeStatement/saml:Attribute", _NS):
        values = [_text(value) for value in each.findall("saml:AttributeValue", _NS)[:_GROUPS_MAX]]
        for name in {each.get("Name", ""), each.get("FriendlyName", "")} - {""}:
            said.setdefault(name, values)
    plain = {name.lower(): values for name, values in said.items()}
    first = {
        field: next((plain[name][0] for name in names if plain.get(name)), "")
        for field, names in (("email", _EMAIL), ("name", _NAME), ("given_name", _GIVEN), ("family_name", _FAMILY))
    }
    if not first["email"] and name_id.get("Format") == EMAIL_FORMAT:
        first["email"] = _text(name_id)
    groups = said.get(provider.groups_attribute)
    return Claims(
        subject=_text(name_id),
        email=first["email"].lower(),
        name=first["name"][:150],
        given_name=first["given_name"][:150],
        family_name=first["family_name"][:150],
        groups=tuple(groups) if groups is not None else None,
    )


def _text(element: Any) -> str:
    if len(element):
        raise SignInError("The provider says something in a form that is not taken.")
    text = element.text or ""
    if len(text) > _TEXT_MAX or "\x00" in text:
        raise SignInError("The provider says something that is too long.")
    return str(text.strip())
