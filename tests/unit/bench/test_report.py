"""What a benchmark says about its rounds."""

import json
from pathlib import Path

import pytest

from bench import report
from bench.load import Measurement
from bench.report import Round


def measured(per_second: int, *, wrong: int = 0, cpu_s: float = 0.5) -> Round:
    seen = Measurement(
        answers=per_second, seconds=1.0, p50_ms=1.0, p99_ms=2.0, max_ms=3.0, wrong=wrong, broken=0, sample=""
    )
    return Round(seen, cpu_s=cpu_s)


def test_the_ratio_is_the_median_of_rounds_not_of_the_whole() -> None:
    gateway = [measured(30), measured(10), measured(300)]
    nginx = [measured(100), measured(100), measured(1000)]
    assert report.ratio(gateway, nginx) == pytest.approx(0.3)


def test_the_table_adds_errors_and_shows_medians() -> None:
    shown = report.table({"gateway": [measured(100, wrong=1), measured(300, wrong=2), measured(200)]})
    name, speed, lowest, highest, _, _, busy, _, errors = shown.splitlines()[1].split()
    assert (name, speed, lowest, highest, busy, errors) == ("gateway", "200", "100", "300", "50%", "3")


def test_processor_time_per_call_is_in_microseconds() -> None:
    assert measured(10_000, cpu_s=0.5).cpu_us_per_call == pytest.approx(50.0)
    assert measured(0).cpu_us_per_call == 0.0


def test_a_result_is_kept_with_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    path = report.keep("gateway", {"commit": "abc"}, {"rounds": {"gateway": [measured(100)]}})
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["machine"] == {"commit": "abc"}
    assert kept["rounds"]["gateway"][0]["per_second"] == 100.0


def test_the_cost_compares_processor_time_per_call() -> None:
    assert report.cost([measured(10_000, cpu_s=0.2)], [measured(1_000, cpu_s=0.1)]) == pytest.approx(0.2)
