"""`python -m marketplace.supervisor up` runs the product, `… infra [command]` only its servers."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from marketplace.supervisor import compiling
from marketplace.supervisor.errors import StartError
from marketplace.supervisor.infrastructure import embedded
from marketplace.supervisor.stack import Options, run_stack
from marketplace.supervisor.terminal import complain, say

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_PORT = 8000


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        return _infra(options) if options.command == "infra" else _up(options)
    except StartError as error:
        complain(str(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/up", description="Runs the marketplace on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", prog="scripts/up", help="run the whole product")
    up.add_argument("--port", type=_port, default=DEFAULT_PORT, help="port of the web site (default %(default)s)")
    up.add_argument("--data", type=Path, default=ROOT / "var", metavar="DIR", help="data folder (default var/)")
    up.add_argument("--no-demo", action="store_true", help="no demo data, no demo servers")
    up.add_argument("--compiled", action="store_true", help="compile the gateway first, where there is a C compiler")
    infra = commands.add_parser("infra", help="run PostgreSQL and Valkey alone, for a command or until stopped")
    infra.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: a temporary one)")
    infra.add_argument("run", nargs=argparse.REMAINDER, metavar="command")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        message = f"{text} is no port: give a number from 1 to 65535."
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _up(options: argparse.Namespace) -> int:
    if options.compiled:
        _compile()
    # The demo's people have a password that is written down: never in production.
    demo = not options.no_demo and os.environ.get("MARKETPLACE_ENV") != "production"
    chosen = Options(root=ROOT, data=options.data.resolve(), port=options.port, demo=demo)
    return asyncio.run(run_stack(chosen))


def _compile() -> None:
    try:
        compiling.ensure()
    except StartError as error:
        say(f"{error}\nThe gateway runs interpreted, which is slower and otherwise the same.")


def _infra(options: argparse.Namespace) -> int:
    with ExitStack() as stack:
        data = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marketplace-")))
        if options.data is None:
            data.chmod(0o711)  # the servers run as another user when we are root
        signal.signal(signal.SIGTERM, _leave)
        servers = stack.enter_context(embedded(data, throwaway=options.data is None))
        if options.run:
            return _run_with(servers.environment(), options.run)
        for name, value in servers.environment().items():
            say(f"{name}={value}")
        with suppress(KeyboardInterrupt):
            signal.pause()
    return 0


def _run_with(environment: Mapping[str, str], command: Sequence[str]) -> int:
    """Run a command while the servers are up. Ctrl-C reaches it directly; we wait for its own end."""
    # A handler, unlike SIG_IGN, is not inherited by the command.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


def _leave(number: int, _frame: object) -> None:
    """Turn a signal into an ordinary end, so that the servers are stopped and the folder is removed."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
