"""Where jobs go that a process enqueues which is no worker: the web's requests run in threads that Celery never saw."""

from __future__ import annotations

import threading

from celery import current_app
from django.conf import settings


def test_every_thread_sends_jobs_to_the_broker_of_the_installation():
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(current_app.conf.broker_url))
    thread.start()
    thread.join(timeout=30)

    assert found == [settings.REDIS_URL]


def test_an_unreachable_broker_is_given_up_after_one_more_attempt():
    assert current_app.conf.broker_transport_options["max_retries"] == 1
