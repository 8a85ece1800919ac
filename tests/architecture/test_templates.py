from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

from django.template.utils import get_app_template_dirs

from tests.architecture.source import APPS, ROOT

TEMPLATES = ROOT / "templates"
# Quoted names; a part in braces is filled in by the program and stands for anything.
NAME = re.compile(r"""["']([\w./{}-]+\.(?:html|txt|xml|json))["']""")
# Django asks for these by itself.
KNOWN_TO_DJANGO = {"400.html", "403.html", "403_csrf.html", "404.html", "500.html"}


def ours() -> set[str]:
    return {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*") if path.is_file()}


def theirs() -> set[str]:
    """Names of the templates of installed packages, which ours may replace."""
    folders = [Path(folder) for folder in get_app_template_dirs("templates") if ROOT not in Path(folder).parents]
    folders += [folder for folder in map(Path, get_app_template_dirs("templates")) if "site-packages" in folder.parts]
    return {str(path.relative_to(folder)) for folder in folders for path in folder.rglob("*") if path.is_file()}


def named() -> set[str]:
    sources = [path for app in APPS for path in (ROOT / app).rglob("*.py")]
    sources += [path for path in TEMPLATES.rglob("*") if path.is_file()]
    return {name for path in sources for name in NAME.findall(path.read_text(encoding="utf-8"))}


class TestTemplates:
    def test_each_is_used(self):
        patterns = {re.sub(r"\{[^}]*\}", "*", name) for name in named()}
        unused = {name for name in ours() if not any(fnmatch(name, pattern) for pattern in patterns)}

        assert sorted(unused - theirs() - KNOWN_TO_DJANGO) == []

    def test_each_one_that_is_named_exists(self):
        folders = {name.partition("/")[0] for name in ours() if "/" in name}
        meant = {name for name in named() if "{" not in name}
        meant = {name for name in meant if name.partition("/")[0] in folders or name in {"error.html", "base.html"}}

        assert sorted(meant - ours() - theirs()) == []
