import os
from pathlib import Path

from marketplace.supervisor import logs
from marketplace.supervisor.logs import LogFile


def test_a_log_that_grew_too_large_is_cut_and_its_content_kept_once(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log")
    descriptor = log.open_for_child()
    os.write(descriptor, b"x" * (logs.MAX_BYTES + 1))
    log.trim()
    os.write(descriptor, b"after\n")
    os.close(descriptor)
    assert log.path.read_bytes() == b"after\n"
    assert (tmp_path / "web.log.1").stat().st_size == logs.MAX_BYTES + 1


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log")
    log.path.write_text("one\ntwo\nthree\n", encoding="utf-8")
    log.trim()
    assert log.tail(2) == "two\nthree"
    assert not (tmp_path / "web.log.1").exists()


def test_the_text_since_an_offset_starts_over_when_the_file_was_cut(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log")
    log.path.write_text("short", encoding="utf-8")
    assert log.text_since(1_000) == "short"
