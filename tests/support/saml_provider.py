"""A SAML 2.0 provider: metadata, and sign-ins that come by redirect and are answered by a form. It can be made to lie.

`python -m tests.support.saml_provider` serves one; a test tells it over `/control` who signs in and what to say otherwise.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml import CanonicalizationMethod, SignatureMethod, XMLSigner

SAML, SAMLP = "urn:oasis:names:tc:SAML:2.0:assertion", "urn:oasis:names:tc:SAML:2.0:protocol"
_EXCLUSIVE = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0


@dataclass
class SamlProvider:
    """The test's side."""

    base: str

    @property
    def allow(self) -> str:
        return urlsplit(self.base).netloc

    @property
    def metadata_url(self) -> str:
        return f"{self.base}/metadata"

    def tell(self, **state: Any) -> None:
        """`person`: name_id, format, attributes; `lies`: places of the answer; `sign`, `foreign_key`, `status`."""
        httpx.put(f"{self.base}/control", json=state).raise_for_status()

    def visit(self, url: str) -> tuple[str, dict[str, str]]:
        """What a browser does at the provider: where its form leads, and with what."""
        answer = httpx.get(url)
        assert answer.status_code == 200, answer.text
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', answer.text))
        action = re.search(r'action="([^"]*)"', answer.text)
        assert action
        return html.unescape(action[1]), {name: html.unescape(value) for name, value in fields.items()}


@contextlib.contextmanager
def running_provider() -> Iterator[SamlProvider]:
    command = [sys.executable, "-m", "tests.support.saml_provider"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield SamlProvider(process.stdout.readline().strip())
        finally:
            process.terminate()


class _Keys:
    def __init__(self) -> None:
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")]), datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, self.private.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
        self.certificate = builder.sign(self.private, hashes.SHA256())

    @property
    def der(self) -> str:
        return base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()


class _OldSigner(XMLSigner):
    """Signs as it was done before SHA-1 was given up."""

    def check_deprecated_methods(self) -> None:
        return None


class _Handler(BaseHTTPRequestHandler):
    state: dict[str, Any] = {}
    keys = _Keys()
    base = ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match parts.path:
            case "/metadata":
                self._send(200, self._metadata(), "application/samlmetadata+xml")
            case "/sso":
                self._sign_in(query)
            case _:
                self._send(404, "", "text/plain")

    def do_PUT(self) -> None:
        type(self).state = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
        self._send(200, "{}", "application/json")

    def _metadata(self) -> str:
        return f"""<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{self.base}/idp">
<md:IDPSSODescriptor protocolSupportEnumeration="{SAMLP}"><md:KeyDescriptor use="signing">
<ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>{self.keys.der}</ds:X509Certificate>
</ds:X509Data></ds:KeyInfo></md:KeyDescriptor>
<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="{self.base}/post"/>
<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{self.base}/sso"/>
</md:IDPSSODescriptor></md:EntityDescriptor>"""

    def _sign_in(self, query: dict[str, str]) -> None:
        asked = etree.fromstring(zlib.decompress(base64.b64decode(query["SAMLRequest"]), -15))
        issuer, acs = asked.findtext(f"{{{SAML}}}Issuer"), asked.get("AssertionConsumerServiceURL")
        text = self._answer(str(asked.get("ID")), str(issuer), str(acs))
        answer = base64.b64encode(text).decode()
        self._send(
            200,
            f'<form method="post" action="{html.escape(str(acs))}"><input name="SAMLResponse" value="{answer}">'
            f'<input name="RelayState" value="{html.escape(query["RelayState"])}"></form>',
            "text/html",
        )

    def _answer(self, request_id: str, audience: str, acs: str) -> bytes:
        now = datetime.now(UTC)
        said = {
            "request": request_id,
            "response_request": request_id,
            "audience": audience,
            "recipient": acs,
            "destination": acs,
            "issuer": f"{self.base}/idp",
            "begins": _moment(now),
            "ends": _moment(now + timedelta(minutes=5)),
            "id": f"_{uuid4().hex}",
            "status": "Success",
        } | self.state.get("lies", {})
        assertion = etree.fromstring(self._assertion(said, _moment(now)))
        sign = self.state.get("sign", "assertion")
        if sign in {"assertion", "inclusive", "sha1"}:
            assertion = self._signed(assertion, sign)
        response = etree.fromstring(
            f'<samlp:Response xmlns:samlp="{SAMLP}" xmlns:saml="{SAML}" ID="_{uuid4().hex}" Version="2.0"'
            f' IssueInstant="{_moment(now)}" Destination="{said["destination"]}" InResponseTo="{said["response_request"]}">'
            f"<saml:Issuer>{said['issuer']}</saml:Issuer><samlp:Status><samlp:StatusCode"
            f' Value="urn:oasis:names:tc:SAML:2.0:status:{said["status"]}"/></samlp:Status></samlp:Response>'
        )
        response.append(assertion)
        return bytes(etree.tostring(self._signed(response, "assertion") if sign == "response" else response))

    def _signed(self, element: Any, how: str) -> Any:
        keys = _Keys() if self.state.get("foreign_key") else self.keys
        form = CanonicalizationMethod.CANONICAL_XML_1_0 if how == "inclusive" else _EXCLUSIVE
        method = SignatureMethod.RSA_SHA1 if how == "sha1" else SignatureMethod.RSA_SHA256
        digest = "sha1" if how == "sha1" else "sha256"
        kind = _OldSigner if how == "sha1" else XMLSigner
        signer = kind(signature_algorithm=method, digest_algorithm=digest, c14n_algorithm=form)
        pem = keys.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return signer.sign(element, key=keys.private, cert=pem, reference_uri=element.get("ID"), id_attribute="ID")

    def _assertion(self, said: dict[str, str], now: str) -> str:
        person = self.state["person"]
        attributes = "".join(
            f'<saml:Attribute Name="{name}">'
            + "".join(f"<saml:AttributeValue>{html.escape(value)}</saml:AttributeValue>" for value in values)
            + "</saml:Attribute>"
            for name, values in person["attributes"].items()
        )
        return (
            f'<saml:Assertion xmlns:saml="{SAML}" ID="{said["id"]}" Version="2.0" IssueInstant="{now}">'
            f"<saml:Issuer>{said['issuer']}</saml:Issuer><saml:Subject>"
            f'<saml:NameID Format="{person["format"]}">{html.escape(person["name_id"])}</saml:NameID>'
            f'<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData'
            f' Recipient="{said["recipient"]}" InResponseTo="{said["request"]}" NotOnOrAfter="{said["ends"]}"/>'
            f"</saml:SubjectConfirmation></saml:Subject>"
            f'<saml:Conditions NotBefore="{said["begins"]}" NotOnOrAfter="{said["ends"]}"><saml:AudienceRestriction>'
            f"<saml:Audience>{said['audience']}</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
            f'<saml:AuthnStatement AuthnInstant="{now}"><saml:AuthnContext><saml:AuthnContextClassRef>'
            f"urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext>"
            f"</saml:AuthnStatement><saml:AttributeStatement>{attributes}</saml:AttributeStatement></saml:Assertion>"
        )

    def _send(self, status: int, text: str, kind: str) -> None:
        raw = text.encode()
        self.send_response(status)
        for name, value in (("content-type", kind), ("content-length", str(len(raw)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: Any) -> None:
        """Tests print nothing."""


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        _Handler.base = f"http://127.0.0.1:{server.server_address[1]}"
        sys.stdout.write(_Handler.base + "\n")
        sys.stdout.flush()
        server.serve_forever()
