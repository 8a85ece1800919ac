"""How patient the supervisor is: with a process that was told to stop, and with one that does not answer.

Read from the environment without Django; `marketplace.settings` declares the same variables, so that they are documented.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from marketplace.supervisor.errors import StartError

STOP, KILL, HUNG = (
    "MARKETPLACE_STOP_GRACE_SECONDS",
    "MARKETPLACE_KILL_AFTER_SECONDS",
    "MARKETPLACE_HUNG_AFTER_SECONDS",
)
_DRAIN = "MARKETPLACE_DRAIN_SECONDS"


@dataclass(frozen=True)
class Graces:
    """Seconds. `hung` 0: a process that does not answer is left alone."""

    stop: int  # what is in flight gets to finish
    kill: int  # from the signal to the kill
    hung: int  # without an answer to the probe
    drain: int  # a process that was told to stop still serves


def defaults(environment: str) -> Graces:
    """In production calls may take a minute and proxies need time to notice; a developer waits for the end of the command."""
    if environment == "production":
        return Graces(stop=60, kill=75, hung=30, drain=5)
    return Graces(stop=8, kill=12, hung=30, drain=0)


def read(environment: Mapping[str, str]) -> Graces:
    """Raises StartError for what is no number, and for a kill that would come before the process may be done."""
    usual = defaults(environment.get("MARKETPLACE_ENV", "development"))
    found = Graces(
        stop=_seconds(environment, STOP, usual.stop),
        kill=_seconds(environment, KILL, usual.kill),
        hung=_seconds(environment, HUNG, usual.hung),
        drain=_seconds(environment, _DRAIN, usual.drain),
    )
    if found.kill <= found.drain + found.stop:
        needed = found.drain + found.stop + 1
        message = f"{KILL} is {found.kill}, and a process may take {needed - 1} s to stop: set it to {needed} or more."
        raise StartError(message)
    return found


def _seconds(environment: Mapping[str, str], name: str, usual: int) -> int:
    text = environment.get(name, "") or str(usual)
    if not (text.isascii() and text.isdigit()):
        message = f"{name} is {text!r}; it must be a whole number of seconds."
        raise StartError(message)
    return int(text)
