"""Steps, their logs and their failures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cluster import run
from cluster.run import Trouble


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "CACHE", tmp_path)


def test_a_step_says_when_it_begins_and_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    run.step("Do it", sys.executable, "-c", "print('hidden')")
    told = capsys.readouterr().err
    assert told.startswith(" • Do it …\n ✓ Do it (")
    assert "hidden" not in told


def test_a_step_that_lasts_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "_PROGRESS_SECONDS", 0.2)
    run.step("Do it", sys.executable, "-uc", "import time; print('half way'); time.sleep(1)")
    assert "so far  half way" in capsys.readouterr().err


def test_a_failed_step_shows_its_last_lines_and_its_log(tmp_path: Path) -> None:
    with pytest.raises(Trouble) as caught:
        run.step("Do it", sys.executable, "-c", "print('because'); raise SystemExit(3)")
    assert f"Do it: failed (whole log: {tmp_path}/logs/do-it.log)" in str(caught.value)
    assert str(caught.value).endswith("because")


def test_a_missing_program_is_named() -> None:
    with pytest.raises(Trouble, match="no-such-program could not be started: No such file"):
        run.output("no-such-program")
    with pytest.raises(Trouble, match="no-such-program could not be started: No such file"):
        run.step("Do it", "no-such-program")


def test_a_failed_command_says_why() -> None:
    with pytest.raises(Trouble, match="failed: because"):
        run.output(sys.executable, "-c", "raise SystemExit('because')")


def test_a_command_that_hangs_is_given_up() -> None:
    with pytest.raises(Trouble, match="did not answer within 0 s"):
        run.output(sys.executable, "-c", "import time; time.sleep(60)", timeout=0.2)
