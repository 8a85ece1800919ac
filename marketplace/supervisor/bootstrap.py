"""Prepares `.venv` from the hashed lock, with nothing but the standard library.

Run by scripts/up and scripts/test under whatever Python was found, before anything is installed:
`python3 -m marketplace.supervisor.bootstrap run|dev|compile`. A stamp in the environment says what is installed,
so that a second start costs nothing. The dev lock holds everything of the run lock; the compile lock is what
scripts/compile needs besides, in versions that agree with both.
"""

import fcntl
import hashlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from marketplace.supervisor.errors import StartError
from marketplace.supervisor.terminal import complain, say, step

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
_PYTHON = VENV / "bin" / "python"
_STAMP = VENV / "marketplace-stamp.json"
_INSTALLS = {"run": ("run",), "dev": ("run", "dev"), "compile": ("compile",)}
_NOT_INSTALLED = "The Python packages could not be installed"
_INSTALLERS = 2
_REQUIREMENT = re.compile(r"^(?=[A-Za-z0-9])", re.MULTILINE)
_REPORT_EVERY = 10
_TAIL_LINES = 15


def main(arguments: Sequence[str]) -> int:
    [wanted] = arguments
    try:
        ensure(wanted)
    except StartError as error:
        complain(str(error))
        return 1
    return 0


def ensure(wanted: str) -> None:
    """Make `.venv` hold the lock `run`, `dev` or `compile`. Raises StartError with one sentence when it cannot."""
    if _is_installed(wanted):
        return
    with step("Preparing Python environment"):
        # Two instances started at once from one checkout share the environment: the second waits.
        checkout = os.open(ROOT, os.O_RDONLY)
        try:
            fcntl.flock(checkout, fcntl.LOCK_EX)
            if not _is_installed(wanted):
                _install(wanted)
        finally:
            os.close(checkout)


def _is_installed(wanted: str) -> bool:
    return _PYTHON.exists() and _stamp().get(wanted) == _state(wanted)


def _stamp() -> dict[str, str]:
    try:
        found = json.loads(_STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _state(wanted: str) -> str:
    """What has to be the same for an installed environment to be good: the lock and the Python."""
    settings = VENV / "pyvenv.cfg"
    text = settings.read_text(encoding="utf-8") if settings.exists() else ""
    version = re.search(r"^version(?:_info)?\s*=\s*(\S+)", text, re.MULTILINE)
    digest = hashlib.sha256(_lock_file(wanted).read_bytes()).hexdigest()
    return f"{digest} {version.group(1) if version else 'unknown'}"


def _lock_file(wanted: str) -> Path:
    return ROOT / "requirements" / f"{wanted}.txt"


def _install(wanted: str) -> None:
    if not os.access(VENV if VENV.exists() else ROOT, os.W_OK):
        message = f"{VENV} cannot be written: run from a checkout that you own."
        raise StartError(message)
    kept = _stamp() if wanted == "compile" and _PYTHON.exists() else {}  # it only adds
    _STAMP.unlink(missing_ok=True)
    if uv := shutil.which("uv"):
        try:
            _fill(wanted, uv)
        except StartError:
            # A uv that cannot reach what pip can (other certificates, other indexes) must not stand in the way.
            say("uv could not, so pip does … ", end="")
            _fill(wanted, None)
    else:
        _fill(wanted, None)
    _STAMP.write_text(json.dumps({**kept, **{name: _state(name) for name in _INSTALLS[wanted]}}), encoding="utf-8")


def _fill(wanted: str, uv: str | None) -> None:
    # Our own Python's pip can fill the environment from outside; that saves installing another one in it.
    own_pip = uv is None and importlib.util.find_spec("pip") is not None
    if not _works(needs_pip=uv is None and not own_pip):
        _create_environment(uv, with_pip=not own_pip)
    installer = _installer(uv, own_pip=own_pip)
    with tempfile.TemporaryDirectory() as folder:
        parts = [_lock_file(wanted)] if uv else _split(_lock_file(wanted), Path(folder))
        _run([[*installer, "--require-hashes", "-r", str(part)] for part in parts], _NOT_INSTALLED, progress=True)


def _split(lock: Path, folder: Path) -> list[Path]:
    """The lock in parts, one for each installer that runs at once.

    pip spends most of its time on one core, reading index pages. The parts can be installed side by
    side because the lock is complete: no part has to know what another brings.
    """
    requirements = _REQUIREMENT.split(lock.read_text(encoding="utf-8"))[1:]
    parts = []
    for number in range(_INSTALLERS):
        part = folder / f"part-{number}.txt"
        part.write_text("".join(requirements[number::_INSTALLERS]), encoding="utf-8")
        parts.append(part)
    return parts


def _installer(uv: str | None, *, own_pip: bool) -> list[str]:
    if uv:
        return [uv, "pip", "install", "--python", str(_PYTHON)]
    pip = [sys.executable, "-m", "pip", "--python", str(_PYTHON)] if own_pip else [str(_PYTHON), "-m", "pip"]
    # The lock is complete, so nothing is left to resolve; modules are compiled when they are first used.
    quick = ("--no-deps", "--no-compile", "--disable-pip-version-check", "--no-input", "--progress-bar", "off")
    return [*pip, "install", *quick]


def _create_environment(uv: str | None, *, with_pip: bool) -> None:
    if uv:
        command = [uv, "venv", "--clear", "--no-project", "--python", sys.executable, str(VENV)]
    else:
        _require_venv_module(with_pip=with_pip)
        command = [sys.executable, "-m", "venv", "--clear", *(() if with_pip else ("--without-pip",)), str(VENV)]
    _run([command], f"The Python environment {VENV} could not be created")


def _works(*, needs_pip: bool) -> bool:
    """Whether the environment runs, has a supported Python, and can install what is missing."""
    if not _PYTHON.exists():
        return False
    check = ("import pip; " if needs_pip else "") + "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([_PYTHON, "-c", check], capture_output=True, check=False).returncode == 0


def _require_venv_module(*, with_pip: bool) -> None:
    if importlib.util.find_spec("venv") and (not with_pip or importlib.util.find_spec("ensurepip")):
        return
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    message = (
        f"This Python has no venv module: install it (on Debian: apt install python{version}-venv), or install uv."
    )
    raise StartError(message)


def _run(commands: list[list[str]], failure: str, *, progress: bool = False) -> None:
    """Run commands side by side; their own output appears only when one fails."""
    collected = itertools.count(1)

    def run(command: list[str]) -> tuple[int, str]:
        said: list[str] = []
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if progress and line.startswith("Collecting ") and (count := next(collected)) % _REPORT_EVERY == 0:
                    say(f"{count} packages … ", end="")
        return process.returncode, "".join(said[-_TAIL_LINES:])

    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "VIRTUAL_ENV": str(VENV)}
    with ThreadPoolExecutor(max_workers=len(commands)) as pool:
        for code, tail in pool.map(run, commands):
            if code != 0:
                message = f"{failure} (exit {code}):\n{tail}".rstrip()
                raise StartError(message)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
