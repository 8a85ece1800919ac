from __future__ import annotations

import os
import subprocess
import sys

from django.conf import settings

from marketplace import settings_document
from tenants.flags import groups


class TestSettingsDocument:
    def test_it_says_what_the_code_declares(self):
        stored = (settings.BASE_DIR / settings_document.PATH).read_text(encoding="utf-8")
        assert stored == settings_document.build(), "run manage.py document_settings"

    def test_it_does_not_depend_on_where_and_how_it_is_made(self):
        environment = {**os.environ, "MARKETPLACE_DATA": "/somewhere", "MARKETPLACE_DB_POOL": "3"}
        program = (
            "import django; django.setup(); from marketplace import settings_document as d; print(d.build(), end='')"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**environment, "DJANGO_SETTINGS_MODULE": "marketplace.settings"},
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == settings_document.build()
        assert str(settings.BASE_DIR) not in done.stdout

    def test_every_flag_is_in_it(self):
        text = settings_document.build()
        for group in groups():
            for flag in group.flags:
                assert f"| `{flag.name}` |" in text
