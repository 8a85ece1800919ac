"""What can be wrong with a server that the catalog reads.

UpstreamError
├── ServerUnreachableError   no answer at all
│   └── ServerTlsError       a certificate that is not accepted, or another failure of TLS
├── ServerAnswerError        an answer that is not what the protocol says
└── ServerMethodError        the server answered a JSON-RPC error
InvalidError
└── ServerSignInError        the server wants a credential that the catalog does not have
"""

from __future__ import annotations

from core.errors import InvalidError, UpstreamError


class ServerUnreachableError(UpstreamError):
    code = "catalog.server_unreachable"
    default_message = "The server could not be reached."
    default_next_step = "Check that the server runs and that its address is right."


class ServerTlsError(ServerUnreachableError):
    code = "catalog.server_tls"
    default_next_step = "Ask the provider to renew or correct the server's certificate."


class ServerAnswerError(UpstreamError):
    code = "catalog.server_answer_invalid"
    default_next_step = "Ask the provider to correct the server; it must speak MCP over Streamable HTTP."


class ServerMethodError(UpstreamError):
    """`rpc_code` is the server's own JSON-RPC error code."""

    code = "catalog.server_method_failed"
    default_next_step = "Ask the provider why the server refuses to describe itself."

    def __init__(self, method: str, rpc_code: int, said: str) -> None:
        super().__init__(f"The server answered {method} with error {rpc_code}: {said[:200]}", rpc_code=rpc_code)
        self.rpc_code = rpc_code


class ServerSignInError(InvalidError):
    code = "catalog.server_sign_in"
    default_message = "The server asks for a sign-in before it describes itself."
    default_next_step = "Register a server that answers server/discover or initialize without a credential."
