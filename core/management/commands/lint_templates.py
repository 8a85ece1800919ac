"""`manage.py lint_templates`: the rules of the interface that a program can check, without a database.

Checked for every template of the project: it compiles; what it includes and extends exists; no inline style, script or event
handler (the content security policy would refuse them in front of a user); every image has an alternative text; partials are
named `_x.html`; every component begins with a comment that names its parameters; every icon named in a template is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.template import TemplateDoesNotExist, TemplateSyntaxError, engines
from django.template.loader_tags import ExtendsNode, IncludeNode
from django.template.utils import InvalidTemplateEngineError

from core.ui.icons import ICONS

# File names below these folders are dictated by django-allauth and the admin's theme.
NAMED_ELSEWHERE = ("account/", "allauth/", "mfa/", "socialaccount/", "unfold/", "usersessions/")
COMMENT = re.compile(r"\{% comment.*?endcomment %\}|\{#.*?#\}|<!--.*?-->", re.DOTALL)
TAG = re.compile(r"<([a-zA-Z][\w-]*)((?:\{%.*?%\}|\{\{.*?\}\}|\"[^\"]*\"|'[^']*'|[^>\"'])*)>", re.DOTALL)
TEMPLATE_CODE = re.compile(r"\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
ICON = re.compile(r"(?:\{% icon \"|\{% include [^%]*icon=\")([^\"]+)\"")
DATA_SCRIPT = ('type="application/json"', 'type="importmap"')


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def lint(folder: Path) -> list[Finding]:
    """Findings in the .html files below a template folder, sorted by place."""
    findings: list[Finding] = []
    for path in sorted(folder.rglob("*.html")):
        name = path.relative_to(folder).as_posix()
        source = path.read_text(encoding="utf-8")
        findings.extend(lint_source(name, source))
        findings.extend(Finding(name, 1, text) for text in _reference_faults(source))
    return sorted(findings)


def lint_source(name: str, source: str) -> Iterator[Finding]:
    """The rules that need only the text."""
    if name.startswith("components/"):
        if not Path(name).name.startswith("_"):
            yield Finding(name, 1, "a component is a partial: name it _x.html")
        if not source.startswith("{% comment %}\n"):
            yield Finding(name, 1, "a component begins with a {% comment %} that names its parameters")
    bare = COMMENT.sub(_blank, source)
    for match in TAG.finditer(bare):
        line = bare.count("\n", 0, match.start()) + 1
        for text in _tag_faults(match.group(1).lower(), match.group(2)):
            yield Finding(name, line, text)
    for match in ICON.finditer(bare):
        if match.group(1) not in ICONS:
            yield Finding(name, bare.count("\n", 0, match.start()) + 1, f"there is no icon {match.group(1)!r}")


def _blank(match: re.Match[str]) -> str:
    """Comments vanish, their lines stay, so that line numbers hold."""
    return "\n" * match.group(0).count("\n")


def _tag_faults(tag: str, attributes: str) -> Iterator[str]:
    names = {name.lower() for name in _attribute_names(attributes)}
    if tag == "style" or "style" in names:
        yield "inline style; the policy refuses it, use a class"
    if tag == "script" and "src" not in names and not any(kind in attributes for kind in DATA_SCRIPT):
        yield "inline script; move it to static/js"
    yield from (
        f"inline handler {name}; listen in a module of static/js" for name in sorted(names) if _is_handler(name)
    )
    if tag == "img" and "alt" not in names:
        yield "image without alt"
    if re.search(r"=\s*[\"']?\s*javascript:", attributes, re.IGNORECASE):
        yield "javascript: address"


def _attribute_names(attributes: str) -> list[str]:
    plain = TEMPLATE_CODE.sub(" ", attributes)
    return re.findall(r"(?:^|\s)([\w:@-]+)(?=[\s=/]|$)", re.sub(r"\"[^\"]*\"|'[^']*'", '""', plain))


def _is_handler(name: str) -> bool:
    return name.startswith(("on", "hx-on")) and name not in {"on", "only"}


def _reference_faults(source: str) -> Iterator[str]:
    try:
        template = engines["django"].from_string(source).template  # type: ignore[attr-defined]
    except (TemplateSyntaxError, TemplateDoesNotExist, InvalidTemplateEngineError) as error:
        yield f"does not compile: {error}"
        return
    nodes: Any = template.nodelist
    for kind in (ExtendsNode, IncludeNode):
        for node in nodes.get_nodes_by_type(kind):
            target = (node.parent_name if kind is ExtendsNode else node.template).var
            if isinstance(target, str):  # otherwise it is chosen at run time
                yield from _target_faults(target, partial=kind is IncludeNode)


def _target_faults(target: str, *, partial: bool) -> Iterator[str]:
    try:
        engines["django"].get_template(target)
    except TemplateDoesNotExist:
        yield f"names {target!r}, which does not exist"
    except TemplateSyntaxError as error:
        yield f"names {target!r}, which does not compile: {error}"
    if partial and not Path(target).name.startswith("_") and not target.startswith(NAMED_ELSEWHERE):
        yield f"includes {target!r}: name partials _x.html"


class Command(BaseCommand):
    help = "Checks every template: compiles, names what exists, breaks no rule of the interface."
    requires_system_checks: list[str] = []

    def handle(self, *_args: object, **_options: object) -> None:
        engine: dict[str, Any] = settings.TEMPLATES[0]
        folders = [Path(folder) for folder in engine["DIRS"]]
        findings = [finding for folder in folders for finding in lint(folder)]
        if findings:
            raise CommandError("\n".join(map(str, findings)))
        count = sum(1 for folder in folders for _ in folder.rglob("*.html"))
        self.stdout.write(f"{count} templates, no finding")
