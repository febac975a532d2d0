"""Before anything is deleted somebody is asked, at a real terminal; elsewhere nothing goes without --yes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from detection_assets.runner import Runner
from tests.terminal import at_terminal
from touchline import repository
from touchline.schema import SourceAsset

pytestmark = pytest.mark.slow


@pytest.fixture
def doomed(secluded: Runner, tmp_path: Path) -> SourceAsset:
    """A source with a job and three objects."""
    with secluded.connection.database.session() as session:
        source = repository.register_source(session, str(tmp_path / f"{uuid.uuid4().hex}.mp4"), checksum="c")
        job = repository.create_job(session, source)
    for number in range(3):
        secluded.connection.objects.put(f"checkpoints/{job.id}/frames/{number}.jpg", b"x" * 500_000)
    return source


def known(runner: Runner, source: SourceAsset) -> bool:
    with runner.connection.database.session() as session:
        return repository.find_source(session, source.partition_key) is not None


def command(*words: object, code: int) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "touchline_cli", *map(str, words)]
    done = subprocess.run(
        line, env=dict(os.environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_forget_asks_at_a_terminal_and_says_what_goes(secluded: Runner, doomed: SourceAsset) -> None:
    figures = f"would forget {doomed.partition_key}"
    for answer in ("n", "", "what?"):
        code, shown = at_terminal("forget", doomed.partition_key[:12], answer=answer or " ")
        assert code == 2, shown
        assert figures in shown and "3 objects of 1.5 MB" in shown and "nothing was deleted" in shown
        assert known(secluded, doomed)
    code, shown = at_terminal("forget", doomed.partition_key[:12], answer="y")
    assert code == 0, shown
    assert f"forgot {doomed.partition_key}" in shown
    assert not known(secluded, doomed)


def test_forget_away_from_a_terminal_needs_yes(secluded: Runner, doomed: SourceAsset) -> None:
    done = command("forget", doomed.partition_key, code=2)
    assert "3 objects of 1.5 MB" in done.stdout and "--yes does it" in done.stderr
    done = command("forget", doomed.partition_key, "--json", code=2)
    assert json.loads(done.stdout)["dry_run"] is True
    assert known(secluded, doomed)
    told = json.loads(command("forget", doomed.partition_key, "--yes", "--json", code=0).stdout)
    assert (told["dry_run"], told["objects"]) == (False, 3)
    assert not known(secluded, doomed)


def test_gc_asks_before_it_frees_and_not_where_there_is_nothing(secluded: Runner, doomed: SourceAsset) -> None:
    stray = f"checkpoints/{uuid.uuid4()}/frames/0.jpg"
    secluded.connection.objects.put(stray, b"x" * 1_000_000)

    def there() -> bool:
        return any(key == stray for key, _ in secluded.connection.objects.list(stray.rpartition("/")[0] + "/"))

    done = command("gc", "--older-than", "0", code=2)
    assert "would free 1 objects of 1.0 MB" in done.stdout and "--yes does it" in done.stderr
    code, shown = at_terminal("gc", "--older-than", "0", answer="no")
    assert code == 2 and "would free 1 objects" in shown and there()
    code, shown = at_terminal("gc", "--older-than", "0", answer="yes")
    assert code == 0 and "freed 1 objects" in shown and not there()
    assert "would free 0 objects" in command("gc", "--older-than", "0", code=0).stdout
