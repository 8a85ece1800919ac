"""`python -m bench` lists the benchmarks, `python -m bench NAME [options]` runs one."""

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from bench.harness import BenchError

# Each names a module with `main(arguments) -> exit code`.
BENCHMARKS = {
    "access": "a policy decision, the entry of an organisation with 10,000 grants, and a revocation until gateways know",
    "billing": "calls through killed writers, a month's close under load, its rating, its invoice, and a run of invoices",
    "health": "a round of health checks over 1,000 servers on one worker, mixed and all hanging",
    "catalog": "search with every facet, whole pages, import and unchanged import at 25,000 servers and 100,000 tools",
    "gateway": "governed and recorded calls through the gateway, against nginx as a plain reverse proxy and a direct call",
    "keys": "whether the time that a wrong API key takes to be refused tells how wrong it is",
}


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help"}:
        listed = "\n".join(f"  {name:<10} {meaning}" for name, meaning in BENCHMARKS.items())
        sys.stdout.write(
            f"usage: scripts/bench NAME [options]\n\n{listed}\n\nscripts/bench NAME --help lists its options.\n"
        )
        return 0
    name, *rest = arguments
    if name not in BENCHMARKS:
        sys.stderr.write(f"There is no benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}.\n")
        return 2
    signal.signal(signal.SIGTERM, _leave)
    try:
        exit_code: int = importlib.import_module(f"bench.{name}").main(rest)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 128 + signal.SIGINT
    return exit_code


def _leave(number: int, _frame: object) -> None:
    """Turn a signal into an ordinary end, so that everything started is stopped."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    # What the product's settings would read from the caller must not change what is measured.
    for variable in [name for name in os.environ if name.startswith(("MARKETPLACE_", "DJANGO_", "PG"))]:
        del os.environ[variable]
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("REDIS_URL", None)
    sys.exit(main(sys.argv[1:]))
