"""`scripts/compile`: the modules that a call passes, translated to C by mypyc and compiled for this machine's Python.

The set goes to a folder named by what it was made of, which is how `core.compiled` finds it; sets of other states are removed.
It takes about a minute of each core. Needs a C compiler and the headers of Python.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from core import compiled
from marketplace.supervisor import bootstrap
from marketplace.supervisor.errors import StartError
from marketplace.supervisor.terminal import complain, say, step

FOLDER = compiled.ROOT / "var" / "compiled"
_FLAGS = ("-DNDEBUG", "-fwrapv", "-fPIC", "-fvisibility=hidden", "-w")
# Everything that the type checker may read from outside is left out, so that one source gives one translation.
_CHECKER = ("--config-file=", "--ignore-missing-imports", "--follow-imports=silent", "--check-untyped-defs")
_TAIL_LINES = 20


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/compile", description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where sets are kept (default var/compiled)")
    parser.add_argument("--optimise", type=int, choices=(0, 1, 2, 3), default=2, help="the C compiler's -O (default 2)")
    options = parser.parse_args(arguments)
    try:
        say(str(ensure(options.folder.resolve(), optimise=options.optimise)))
    except StartError as error:
        complain(str(error))
        return 1
    return 0


def ensure(folder: Path = FOLDER, *, optimise: int = 2) -> Path:
    """The set that fits this source, made when it is missing. Raises StartError with what is to be done."""
    fitting = folder / compiled.digest()
    if fitting.is_dir():
        return fitting
    compiler = require_compiler()
    if not _has_translator():
        bootstrap.ensure("compile")
    folder.mkdir(parents=True, exist_ok=True)
    with (
        step("Compiling the gateway (about a minute)"),
        tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as name,
    ):
        made = Path(name) / "set"
        _make(Path(name), made, [*compiler, f"-O{optimise}"])
        try:
            made.rename(fitting)
        except OSError:
            if not fitting.is_dir():
                raise
    for other in folder.iterdir():
        # Processes that use another set keep what they have opened.
        if other.is_dir() and other.name != fitting.name and not other.name.startswith("."):
            shutil.rmtree(other, ignore_errors=True)
    return fitting


def require_compiler() -> list[str]:
    """The command of the C compiler. Raises StartError when there is none, or no headers of Python."""
    wanted = shlex.split(str(sysconfig.get_config_var("CC") or "cc"))
    found = shutil.which(wanted[0]) or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        raise StartError("Compiling needs a C compiler: install one (on Debian: apt install gcc).")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise StartError(
            f"Compiling needs the headers of Python: install them (on Debian: apt install python{version}-dev)."
        )
    return [found]


def _has_translator() -> bool:
    """The lock `dev` brings it too; setuptools is asked for since Python has no distutils."""
    parts = ("mypyc", "setuptools") if sys.version_info >= (3, 12) else ("mypyc",)
    return all(importlib.util.find_spec(part) is not None for part in parts)


def _make(work: Path, made: Path, compiler: Sequence[str]) -> None:
    extensions = _translated(work)
    include = f"-I{sysconfig.get_path('include')}"
    suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))
    with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)))) as pool:
        for name, (sources, folders) in extensions.items():
            command = [*compiler, *_FLAGS, include, *(f"-I{folder}" for folder in folders)]
            objects = list(pool.map(partial(_compile_one, work, command), sources))
            target = made / (name.replace(".", "/") + suffix)
            target.parent.mkdir(parents=True, exist_ok=True)
            _run([*compiler, "-shared", "-o", str(target), *objects])


def _compile_one(work: Path, command: Sequence[str], source: str) -> str:
    target = str(work / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.o")
    _run([*command, "-c", source, "-o", target])
    return target


def _translated(work: Path) -> Mapping[str, tuple[list[str], list[str]]]:
    """C sources and folders of headers by the name of the module that is made of them."""
    result = work / "extensions.json"
    _run([sys.executable, "-m", "marketplace.supervisor.compiling", "translate", str(work), str(result)])
    found: Mapping[str, tuple[list[str], list[str]]] = json.loads(result.read_text(encoding="utf-8"))
    return found


def _translate(work: Path, result: Path) -> None:
    """In a process of its own, because the checker keeps what it learned."""
    from mypyc.build import mypycify  # noqa: PLC0415 - only where the lock `compile` is installed

    extensions = mypycify(
        [*_CHECKER, f"--cache-dir={work / 'cache'}", *(f"{name.replace('.', '/')}.py" for name in compiled.MODULES)],
        target_dir=str(work / "c"),
        multi_file=True,
    )
    made = {
        one.name: ([str(source) for source in one.sources], [str(i) for i in one.include_dirs]) for one in extensions
    }
    result.write_text(json.dumps(made), encoding="utf-8")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, cwd=compiled.ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join(
            line for line in (done.stdout + done.stderr).splitlines() if "warning: Treating generator" not in line
        )
        tail = "\n".join(said.splitlines()[-_TAIL_LINES:])
        raise StartError(
            f"The gateway could not be compiled ({Path(command[0]).name}, exit {done.returncode}):\n{tail}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["translate"]:
        _translate(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(main(sys.argv[1:]))
