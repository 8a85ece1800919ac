"""How a demo server is served: Streamable HTTP on the loopback address only."""

import argparse
import logging

import uvicorn
from mcp.server.mcpserver import MCPServer
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_HOST = "127.0.0.1"


def main(server: MCPServer) -> None:
    """Serve at /mcp on `--port`, or on a listening socket inherited as file descriptor `--fd`."""
    parser = argparse.ArgumentParser(description=server.description)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int)
    where.add_argument("--fd", type=int)
    options = parser.parse_args()
    server.custom_route("/healthz", methods=["GET"])(_healthz)
    logging.basicConfig(level=logging.INFO)
    # One line per request of the SDK's transport says nothing that the gateway does not record.
    logging.getLogger("mcp").setLevel(logging.WARNING)
    app = server.streamable_http_app(host=_HOST)
    uvicorn.run(app, host=_HOST, port=options.port or 0, fd=options.fd, access_log=False, server_header=False)


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok")
