"""The page on which operators import listings: what may be asked for, what is told, and what survives a reload."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from audit.models import AuditEvent
from catalog.choices import ImportState
from catalog.models import ImportRun, Server
from catalog.services import import_runs
from core import clock
from tenants.context import platform_scope

ENTRIES = [
    {"name": "com.example/mail", "description": "Sends mail.", "version": "1.0.0"},
    {"name": "com.example/<script>alert(1)</script>", "version": "1.0.0"},
]


@pytest.fixture
def olga(cast, signed_in):
    Authenticator.objects.create(user=cast.olga, type=Authenticator.Type.TOTP, data={"secret": "x"})
    return signed_in(cast.olga)


def ask(client, content: bytes = b"", name: str = "list.json", **given):
    fields = {"source_name": "Own list", "trust": "verified", "priority": "0", "folder": "", **given}
    if content:
        fields["upload"] = SimpleUploadedFile(name, content)
    return client.post(reverse("operations-import"), fields)


def the_run() -> ImportRun:
    with platform_scope():
        return ImportRun.objects.get()


def names() -> set[str]:
    with platform_scope():
        return set(Server.objects.filter(origin="imported").values_list("registry_name", flat=True))


class TestUpload:
    def test_a_file_is_taken_by_a_job_and_its_report_stays(self, olga):
        answer = ask(olga, gzip.compress(json.dumps(ENTRIES).encode()), "list.json.gz")
        run = the_run()
        assert (answer.status_code, answer.url) == (302, f"/operations/import/?run={run.pk}")
        assert (run.state, names()) == (ImportState.WAITING, set())

        import_runs.run(str(run.pk))

        run = the_run()
        assert (run.state, run.files_done, run.created, run.servers, run.content) == (ImportState.DONE, 1, 1, 1, None)
        assert names() == {"com.example/mail"}
        page = olga.get(answer.url).content.decode()
        assert "1 created, 0 updated" in page
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        with platform_scope():
            event = AuditEvent.objects.get(action="catalog:source:imported")
        assert event.data["created"] == 1

    def test_the_job_twice_changes_nothing(self, olga):
        ask(olga, json.dumps(ENTRIES).encode())
        import_runs.run(str(the_run().pk))
        before = the_run()

        import_runs.run(str(before.pk))

        assert the_run().updated_at == before.updated_at

    def test_while_it_runs_the_part_asks_for_itself_again(self, olga):
        ask(olga, json.dumps(ENTRIES).encode())
        part = olga.get(f"/operations/import/?run={the_run().pk}", headers={"HX-Request": "true"}).content.decode()

        assert 'hx-trigger="every 2s"' in part
        assert "<html" not in part

    def test_a_file_that_is_no_listing_is_told_so(self, olga):
        ask(olga, b"a: [", "broken.yaml")
        import_runs.run(str(the_run().pk))

        run = the_run()
        assert (run.state, run.created, run.problem_count) == (ImportState.DONE, 0, 1)
        assert run.problems[0]["reason"]

    def test_an_import_whose_job_died_is_taken_up_again(self, olga):
        ask(olga, json.dumps(ENTRIES).encode())
        run = the_run()
        with platform_scope():
            ImportRun.objects.update(state=ImportState.RUNNING, updated_at=clock.now() - timedelta(hours=1))
        assert b"Nothing moved for minutes" in olga.get(f"/operations/import/?run={run.pk}").content

        olga.post(reverse("operations-import"), {"again": str(run.pk)})
        import_runs.run(str(run.pk))

        assert the_run().state == ImportState.DONE

    def test_one_that_moves_is_left_alone(self, olga):
        ask(olga, json.dumps(ENTRIES).encode())
        with platform_scope():
            ImportRun.objects.update(state=ImportState.RUNNING)

        olga.post(reverse("operations-import"), {"again": str(the_run().pk)})

        assert the_run().state == ImportState.RUNNING


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "given", "words"),
        [
            (b"", {}, "Choose a file or a folder"),
            (b"{}", {"source_name": ""}, "This field is required"),
            (b"{}", {"source_name": "a\u202eb"}, "1 to 100 characters"),
            (b"{}", {"trust": "absolute"}, "Select a valid choice"),
            (b"", {"folder": "/etc"}, "Select a valid choice"),
        ],
    )
    def test_what_cannot_be_imported_is_said_at_the_form(self, olga, content, given, words):
        answer = ask(olga, content, **given)

        assert answer.status_code == 422
        assert words in answer.content.decode()
        with platform_scope():
            assert not ImportRun.objects.exists()

    def test_a_file_that_is_too_large_is_refused(self, olga, settings):
        settings.IMPORT_UPLOAD_MIB = 1

        assert ask(olga, b"x" * (2**20 + 1)).status_code == 422

    @pytest.mark.parametrize("run", ["", "x", "00000000-0000-0000-0000-000000000000"])
    def test_an_unknown_import_is_no_error(self, olga, run):
        assert olga.get(f"/operations/import/?run={run}").status_code == 200
        assert olga.post(reverse("operations-import"), {"again": run}).status_code == 302

    def test_members_never_come_here(self, cast, signed_in):
        assert ask(signed_in(cast.alice), b"{}").status_code == 404


class TestFolder:
    def test_an_allowed_folder_is_taken_file_by_file(self, olga, settings, tmp_path):
        settings.IMPORT_FOLDERS = [str(tmp_path)]
        for number in range(3):
            entry = {**ENTRIES[0], "name": f"com.example/mail-{number}"}
            (tmp_path / f"{number}.json").write_text(json.dumps(entry))
        ask(olga, folder=str(tmp_path))
        import_runs.run(str(the_run().pk))

        run = the_run()
        assert (run.state, run.files_done, run.files_total, run.created) == (ImportState.DONE, 3, 3, 3)

    def test_a_long_import_goes_on_in_another_job(self, olga, settings, tmp_path, monkeypatch):
        monkeypatch.setattr(import_runs, "SECONDS_PER_JOB", -1)
        settings.IMPORT_FOLDERS = [str(tmp_path)]
        for number in range(2):
            (tmp_path / f"{number}.json").write_text(json.dumps({**ENTRIES[0], "name": f"com.example/mail-{number}"}))
        ask(olga, folder=str(tmp_path))
        import_runs.run(str(the_run().pk))
        assert (the_run().state, the_run().files_done) == (ImportState.WAITING, 1)

        import_runs.run(str(the_run().pk))

        assert (the_run().state, the_run().created) == (ImportState.DONE, 2)
