"""Before anything is deleted somebody is asked, at a real terminal; elsewhere nothing goes without --yes."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path

import pytest
from rich.console import Console

from detection_assets.local.runner import Runner
from tests.support.commands import done
from tests.support.terminal import at_terminal
from touchline.errors import BadInputError
from touchline.library import repository
from touchline.library.tables import SourceAsset
from touchline_cli import session

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


def test_forget_asks_at_a_terminal_and_says_what_goes(secluded: Runner, doomed: SourceAsset) -> None:
    figures = f"would forget {doomed.partition_key}"
    code, shown = at_terminal("forget", doomed.partition_key[:12], answer="n")
    assert code == 2, shown
    assert figures in shown and "3 objects of 1.5 MB" in shown and "nothing was deleted" in shown
    assert known(secluded, doomed)
    code, shown = at_terminal("forget", doomed.partition_key[:12], answer="y")
    assert code == 0, shown
    assert f"forgot {doomed.partition_key}" in shown
    assert not known(secluded, doomed)


def test_only_a_yes_is_a_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "errors", Console(file=io.StringIO(), force_terminal=True))
    monkeypatch.setattr("sys.stdin", answers := io.StringIO("y\nYes \n\nn\nwhat?\n"))
    monkeypatch.setattr(answers, "isatty", lambda: True)
    for _ in range(2):
        session.confirm("Sure?", yes=False, as_json=False)
    for _ in range(4):
        with pytest.raises(BadInputError, match="nothing was deleted"):
            session.confirm("Sure?", yes=False, as_json=False)


def test_forget_away_from_a_terminal_needs_yes(secluded: Runner, doomed: SourceAsset) -> None:
    told = done("forget", doomed.partition_key, code=2)
    assert "3 objects of 1.5 MB" in told.stdout and "add --yes" in told.stderr
    told = done("forget", doomed.partition_key, "--json", code=2)
    assert json.loads(told.stdout)["dry_run"] is True
    assert known(secluded, doomed)
    found = json.loads(done("forget", doomed.partition_key, "--yes", "--json").stdout)
    assert (found["dry_run"], found["objects"]) == (False, 3)
    assert not known(secluded, doomed)


def test_gc_asks_before_it_frees_and_not_where_there_is_nothing(secluded: Runner, doomed: SourceAsset) -> None:
    stray = f"checkpoints/{uuid.uuid4()}/frames/0.jpg"
    secluded.connection.objects.put(stray, b"x" * 1_000_000)

    def there() -> bool:
        return any(key == stray for key, _ in secluded.connection.objects.list(stray.rpartition("/")[0] + "/"))

    told = done("gc", "--older-than", "0", code=2)
    assert "would free 1 objects of 1.0 MB" in told.stdout and "add --yes" in told.stderr
    code, shown = at_terminal("gc", "--older-than", "0", answer="no")
    assert code == 2 and "would free 1 objects" in shown and there()
    code, shown = at_terminal("gc", "--older-than", "0", answer="yes")
    assert code == 0 and "freed 1 objects" in shown and not there()
    assert "would free 0 objects" in done("gc", "--older-than", "0", code=0).stdout
