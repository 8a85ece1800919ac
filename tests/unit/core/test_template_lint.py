"""The template lint finds what the content security policy would refuse, and lets the rest pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from core.management.commands.lint_templates import lint, lint_source


def faults(source: str, name: str = "catalog/home.html") -> list[str]:
    return [finding.text for finding in lint_source(name, source)]


class TestLintSource:
    @pytest.mark.parametrize(
        "source",
        [
            '<p style="color: red">',
            '<p {% if wide %}style="width: 1px"{% endif %}>',
            "<style>p {}</style>",
            "<script>alert(1)</script>",
            '<button onclick="go()">',
            '<a href="javascript:go()">',
            '<img src="x.png">',
            '{% icon "no-such-icon" %}',
            '{% include "components/_button.html" with label="Go" icon="no-such-icon" only %}',
        ],
    )
    def test_one_fault_is_one_finding(self, source):
        assert len(faults(source)) == 1

    @pytest.mark.parametrize(
        "source",
        [
            '<p data-style="x" title="a > b, style=1">',
            '<script type="application/json">{}</script>',
            '<script type="module" src="{% static "js/copy.js" %}"></script>',
            '<img src="x.png" alt="">',
            '<input value="onclick" name="one">',
            '{% comment %}<p style="x">{% endcomment %}<!-- <script> -->',
            '{% icon "key" %}',
        ],
    )
    def test_what_the_policy_allows_passes(self, source):
        assert faults(source) == []

    def test_a_finding_names_its_line_although_comments_are_skipped(self):
        found = list(lint_source("a.html", "{% comment %}\n\n{% endcomment %}\n<p style='x'>"))
        assert [finding.line for finding in found] == [4]

    def test_a_component_is_a_partial_with_documented_parameters(self):
        assert len(faults("<p>", name="components/card.html")) == 2
        assert faults("{% comment %}\nlabel\n{% endcomment %}<p>", name="components/_card.html") == []


class TestLint:
    def test_a_template_that_names_a_missing_one_is_found(self, tmp_path):
        page = '{% extends "no-such.html" %}{% block a %}{% include "components/_no.html" %}{% endblock %}'
        (tmp_path / "page.html").write_text(page)
        assert [finding.text for finding in lint(tmp_path)] == [
            "names 'components/_no.html', which does not exist",
            "names 'no-such.html', which does not exist",
        ]

    def test_a_template_that_does_not_compile_is_found(self, tmp_path):
        (tmp_path / "page.html").write_text("{% if %}")
        assert lint(tmp_path)[0].text.startswith("does not compile")

    def test_the_templates_of_the_project_have_no_finding(self):
        assert lint(Path(settings.BASE_DIR) / "templates") == []


class TestStyleSheets:
    def test_every_custom_property_that_is_used_is_defined(self):
        import re

        sheets = [path.read_text() for path in (Path(settings.BASE_DIR) / "static/css").glob("*.css")]
        used = {name for sheet in sheets for name in re.findall(r"var\((--[\w-]+)", sheet)}
        defined = {name for sheet in sheets for name in re.findall(r"(--[\w-]+)\s*:", sheet)}
        assert used - defined == set()
