"""The command that imports files: the shared files of real sources, and files that are no good."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from catalog.models import Server, SourceEntry
from catalog.selectors.listing import visible_to
from catalog.types import PUBLIC_VIEWER, Viewer
from tenants.context import platform_scope, viewer

pytestmark = pytest.mark.django_db
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
MAIL = {"name": "com.example/mail", "description": "Sends mail.", "version": "1.0.0"}


def run(path: Path, **options: object) -> str:
    out = StringIO()
    call_command("import_catalog", str(path), stdout=out, **options)
    return out.getvalue()


class TestSharedFiles:
    @pytest.mark.parametrize(
        ("file", "entries", "servers"),
        [
            ("official-registry-2025-12-18.jsonl.gz", 2794, 1108),
            ("docker-mcp-registry.jsonl.gz", 328, 328),
            ("mcpm-servers.jsonl.gz", 380, 380),
            ("context-forge-catalog.yml", 135, 135),
        ],
    )
    def test_every_entry_becomes_part_of_the_catalog(self, file, entries, servers):
        if not SHARED.is_dir():
            pytest.skip("The shared data is not beside the project.")
        said = run(SHARED / file).splitlines()[-1]

        assert f"{entries:,} entries: {entries:,} created, 0 updated, 0 unchanged, {servers:,} servers added" in said
        again = run(SHARED / file).splitlines()[-1]
        assert f"0 created, 0 updated, {entries:,} unchanged, 0 servers added" in again

    def test_examples_of_mcp_runtime_are_read_whatever_file_they_are_in(self):
        """Two of the files describe the same server, so the later one counts; grants and sessions are no servers."""
        if not SHARED.is_dir():
            pytest.skip("The shared data is not beside the project.")
        said = run(SHARED / "mcp-runtime")

        assert "7 files, 5 entries: 4 created, 1 updated, 0 unchanged, 4 servers added" in said
        assert len(re.findall(r"not taken: governed-agent/deploy/(grant|session)\.yaml: .+", said)) == 2

    def test_lists_of_tools_are_told_from_catalogs(self):
        if not SHARED.is_dir():
            pytest.skip("The shared data is not beside the project.")
        said = run(SHARED / "metorial-tools.jsonl.gz")

        assert "is no catalog: its 1,434 lines list tools of servers" in said
        assert "1 file, 0 entries" in said


class TestFiles:
    def test_what_is_not_taken_is_told_with_file_entry_field_and_reason(self, tmp_path):
        (tmp_path / "a.json").write_text(json.dumps([MAIL, {"name": "com.example/old", "version": "^1.0"}]))
        (tmp_path / "b.yaml").write_text("a: [")
        (tmp_path / "c.txt").write_text("not looked at")
        said = run(tmp_path)

        assert re.search(r"not taken: a\.json: com\.example/old: version: .+", said)
        assert re.search(r"not taken: b\.yaml: .+", said)
        assert "2 files, 1 entries: 1 created" in said

    def test_a_file_that_is_no_catalog_says_so_once(self, tmp_path):
        lines = [json.dumps({"identifier": f"a/{number}", "tools": [{"name": "x"}]}) for number in range(50)]
        (tmp_path / "tools.jsonl").write_text("\n".join(lines))
        (tmp_path / "other.jsonl").write_text('{"a": 1}\n{"b": 2}\n')
        said = run(tmp_path)

        assert "tools.jsonl: is no catalog: its 50 lines list tools of servers" in said
        assert "other.jsonl: is no catalog: none of its 2 documents is of a known format" in said
        assert said.count("not taken:") == 2

    def test_links_that_lead_outside_are_not_followed(self, tmp_path):
        outside = tmp_path / "outside.json"
        outside.write_text(json.dumps(MAIL))
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "link.json").symlink_to(outside)

        assert "0 files" in run(folder)

    def test_entries_of_an_organisation_are_its_own(self, cast, tmp_path):
        file = tmp_path / "own.json"
        file.write_text(json.dumps(MAIL))
        run(file, organisation="acme", source_name="Own list")

        with platform_scope():
            assert Server.objects.get(registry_name="com.example/mail").owner_tenant == cast.acme
            assert SourceEntry.objects.get().source_name == "Own list"
        for who, names in (
            (PUBLIC_VIEWER, []),
            (Viewer(cast.acme.pk), ["com.example/mail"]),
            (Viewer(cast.globex.pk), []),
        ):
            with viewer(who.tenant_id or ""):
                assert list(visible_to(who).filter(origin="imported").values_list("registry_name", flat=True)) == names

    @pytest.mark.parametrize(
        "options", [{"organisation": "nobody"}, {"source_name": "x" * 101}, {"source_name": "a\x07b"}]
    )
    def test_what_cannot_be_asked_for_is_said_so(self, cast, tmp_path, options):
        (tmp_path / "a.json").write_text(json.dumps(MAIL))

        with pytest.raises(CommandError):
            run(tmp_path, **options)

    def test_nothing_there_is_said_so(self, tmp_path):
        with pytest.raises(CommandError, match="nothing at"):
            run(tmp_path / "missing.json")
