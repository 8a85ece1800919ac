"""The product under production settings, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.stack import ROOT, clean_environment

SETTINGS = {
    "MARKETPLACE_ENV": "production",
    "MARKETPLACE_URL": "https://marketplace.example",
    "MARKETPLACE_SECRET_KEY": "k3Jd8sLq0ZpX7vRm2TnB5wYc9HfGa4Ue6oIiNtQxCzVbKlDjSgPyEr1W",
    "MARKETPLACE_SMTP_URL": "smtp://mailer:secret@mail.example:587",
}


def manage(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    addresses = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL") if name in os.environ}
    environment = {**clean_environment(), **addresses, **SETTINGS, **changes}
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env={name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


class TestDeployCheck:
    def test_it_is_clean(self):
        done = manage("check", "--deploy", "--fail-level", "WARNING")

        assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stdout + done.stderr


class TestSettings:
    @pytest.mark.parametrize("name", ["MARKETPLACE_SECRET_KEY", "MARKETPLACE_SMTP_URL"])
    def test_a_missing_one_stops_the_start_and_is_named(self, name):
        done = manage("check", **{name: ""})

        assert done.returncode != 0
        (sentence,) = done.stderr.splitlines()
        assert name in sentence

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("MARKETPLACE_SECRET_KEY", "short"),
            ("MARKETPLACE_ENV", "staging"),
            ("MARKETPLACE_ROLE", "everything"),
            ("MARKETPLACE_DB_POOL", "many"),
            ("MARKETPLACE_DB_POOL", "-1"),
            ("MARKETPLACE_STAFF_MFA", "maybe"),
            ("DATABASE_URL", "mysql://somewhere/else"),
        ],
    )
    def test_an_odd_value_stops_the_start_and_is_named(self, name, value):
        done = manage("check", **{name: value})

        assert done.returncode != 0
        (sentence,) = done.stderr.splitlines()
        assert name in sentence

    def test_no_value_of_a_secret_is_printed(self):
        done = manage("show_settings")

        assert done.returncode == 0
        assert SETTINGS["MARKETPLACE_SECRET_KEY"] not in done.stdout + done.stderr
        assert "mailer" not in done.stdout + done.stderr

    def test_pages_for_development_are_not_there(self):
        script = (
            "from django.urls import get_resolver;"
            "print(sorted(str(p.pattern) for p in get_resolver().url_patterns if 'mailbox' in str(p.pattern)"
            " or 'styleguide' in str(p.pattern)))"
        )
        done = manage("shell", "-v0", "-c", script)

        assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr


def test_a_clock_that_moves_stops_the_start():
    done = manage("check", MARKETPLACE_CLOCK_FILE="clock")

    assert done.returncode != 0
    assert "MARKETPLACE_CLOCK_FILE moves the clock, which production does not allow" in done.stderr
