"""An environment of its own for each rival, made once. They are no dependencies of ours."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.harness import ROOT
from marketplace.supervisor.terminal import step

_FOLDER = ROOT / "var" / "rivals"
_INSTALL_WITHIN_S = 1200


class NotInstalledError(Exception):
    """The message says why."""


def python_of(requirement: str, also: Sequence[str] = ()) -> Path:
    """The interpreter of the environment that has this package, which is made if need be. Raises NotInstalledError."""
    home = _FOLDER / re.sub(r"[^\w.]+", "-", requirement).strip("-")
    python, mark = home / "bin" / "python", _FOLDER / f"{home.name}.installed"
    if python.exists() and mark.exists():
        return python
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with step(f"Installing {requirement}"):
        _run(sys.executable, "-m", "venv", "--clear", str(home))
        _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement, *also)
    mark.touch()
    return python


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_WITHIN_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(str(error)) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalledError(said[-1] if said else f"exit code {done.returncode}")
