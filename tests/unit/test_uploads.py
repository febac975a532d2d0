"""Which uploads are started when: every whole content once, none before it is whole, whatever comes in which order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from touchline.errors import BadInputError
from touchline.library.intake import (
    QUIESCENCE,
    Known,
    Listed,
    UploadState,
    bucket_key,
    bucket_path,
    decide,
    hidden,
    run_key,
)

START = datetime(2025, 3, 1, tzinfo=UTC)
KEYS = ("a.mp4", "b.mp4", "cup/a.mp4", "z.mp4")


class Uploads(RuleBasedStateMachine):
    """A place, a ledger kept as `decide` says, and a clock. Files are written, copied over, removed, brought back."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.place: dict[str, Listed] = {}
        self.written: dict[str, datetime] = {}
        """Our clock, when the content that is there now came."""
        self.ledger: dict[str, Known] = {}
        self.started: dict[str, list[str]] = {key: [] for key in KEYS}
        self.etags = 0
        self.skew = timedelta()

    @initialize(skew=st.sampled_from([-3600, 0, 5, 3600]))
    def clocks(self, skew: int) -> None:
        self.skew = timedelta(seconds=skew)

    @rule(key=st.sampled_from(KEYS), same_time=st.booleans())
    def write(self, key: str, same_time: bool) -> None:
        """A new content, or a bit more of one that is still arriving."""
        self.etags += 1
        old = self.place.get(key)
        modified = old.modified if old and same_time else self.now + self.skew
        self.place[key] = Listed(key, f"e{self.etags}", self.etags, modified)
        self.written[key] = self.now

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: str) -> None:
        self.place.pop(key, None)

    @rule(seconds=st.sampled_from([0, 1, 10, 31, 600]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(limit=st.integers(0, 3), dies=st.booleans(), backwards=st.booleans())
    def tick(self, limit: int, dies: bool, backwards: bool) -> None:
        listed = sorted(self.place.values(), key=lambda upload: upload.key, reverse=backwards)
        plan = decide(self.ledger, listed, self.now)
        for upload, version in (*plan.new, *plan.changed):
            self.ledger[upload.key] = Known(
                upload.key, version, upload.etag, upload.size, UploadState.WAITING, self.now, gone=False
            )
        for pairs, gone in ((plan.returned, False), (plan.gone, True)):
            for key, _ in pairs:
                self.change(key, gone=gone)
        if dies:
            return
        for upload, version in plan.due[:limit]:
            row = self.ledger[upload.key]
            assert (row.version, row.etag, row.state) == (version, upload.etag, UploadState.WAITING)
            assert self.whole(upload), "started before it was whole"
            self.change(upload.key, state=UploadState.STARTED)
            self.started[upload.key].append(run_key(upload.key, version, upload.etag))

    def change(self, key: str, **what: object) -> None:
        row = self.ledger[key]
        fields = {name: getattr(row, name) for name in Known.__slots__}
        self.ledger[key] = Known(**{**fields, **what})

    def whole(self, upload: Listed) -> bool:
        old_enough = self.now - upload.modified >= QUIESCENCE
        row = self.ledger[upload.key]
        return old_enough or self.now - max(self.written[upload.key], row.since) >= QUIESCENCE

    @invariant()
    def nothing_is_started_twice(self) -> None:
        for keys in self.started.values():
            assert len(keys) == len(set(keys))
            etags = [key.rsplit("/", 1)[1] for key in keys]
            assert len(etags) == len(set(etags)), "one content, two runs"

    def teardown(self) -> None:
        """Left alone, everything that is there is started, with what it contains last."""
        for _ in range(2):
            self.now += timedelta(hours=2)
            self.tick(limit=len(KEYS), dies=False, backwards=False)
        for key, upload in self.place.items():
            assert self.started[key], f"{key} was skipped"
            assert self.started[key][-1].endswith(f"/{upload.etag}")
        counts = {key: len(keys) for key, keys in self.started.items()}
        self.now += timedelta(hours=2)
        self.tick(limit=len(KEYS), dies=False, backwards=True)
        assert counts == {key: len(keys) for key, keys in self.started.items()}
        self.nothing_is_started_twice()


TestUploads = Uploads.TestCase
TestUploads.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


def listed(key: str = "a.mp4", etag: str = "e", age_s: float = 3600, size: int = 1) -> Listed:
    return Listed(key, etag, size, START - timedelta(seconds=age_s))


def known(state: UploadState, etag: str = "e", *, since_s: float = 3600, gone: bool = False, version: int = 1) -> Known:
    return Known("a.mp4", version, etag, 1, state, START - timedelta(seconds=since_s), gone)


def test_an_upload_of_yesterday_is_started_at_first_sight_and_one_of_this_second_waits() -> None:
    plan = decide({}, [listed(), listed("b.mp4", age_s=1)], START)
    assert [upload.key for upload, _ in plan.due] == ["a.mp4"]
    assert (len(plan.new), plan.waiting) == (2, 1)


def test_an_upload_whose_clock_is_ahead_is_started_once_it_has_not_changed_for_the_time_to_settle() -> None:
    ahead = listed(age_s=-86400)
    waiting = {"a.mp4": known(UploadState.WAITING, since_s=QUIESCENCE.total_seconds() - 1)}
    assert not decide(waiting, [ahead], START).due
    waiting = {"a.mp4": known(UploadState.WAITING, since_s=QUIESCENCE.total_seconds())}
    assert decide(waiting, [ahead], START).due


@pytest.mark.parametrize("change", [{"etag": "f"}, {"size": 2}])
def test_what_grew_since_the_last_look_waits_anew(change: dict[str, object]) -> None:
    upload = listed(age_s=1, **change)  # type: ignore[arg-type]
    plan = decide({"a.mp4": known(UploadState.WAITING)}, [upload], START)
    assert (plan.changed, plan.due, plan.waiting) == ([(upload, 1)], [], 1)


@pytest.mark.parametrize("state", [s for s in UploadState if s is not UploadState.WAITING])
def test_new_content_of_a_key_is_a_new_version_whatever_became_of_the_last(state: UploadState) -> None:
    plan = decide({"a.mp4": known(state, version=4)}, [listed(etag="f")], START)
    assert plan.new == plan.due == [(listed(etag="f"), 5)]
    assert not decide({"a.mp4": known(state, version=4)}, [listed()], START).due


def test_what_comes_back_as_it_was_is_not_started_again_unless_it_was_forgotten() -> None:
    plan = decide({"a.mp4": known(UploadState.STARTED, gone=True)}, [listed()], START)
    assert (plan.returned, plan.new, plan.due) == ([("a.mp4", 1)], [], [])
    plan = decide({"a.mp4": known(UploadState.FORGOTTEN, gone=True)}, [listed()], START)
    assert plan.due == [(listed(), 2)]
    assert not decide({"a.mp4": known(UploadState.FORGOTTEN)}, [listed()], START).due


def test_the_oldest_come_first_and_those_a_server_failed_at_last() -> None:
    odd = Known("odd.mp4", 1, "e", 1, UploadState.WAITING, START - timedelta(hours=1), gone=False, tried=START)
    uploads = [listed("odd.mp4", age_s=9000), listed("b.mp4", age_s=100), listed("c.mp4"), listed("a.mp4")]
    plan = decide({"odd.mp4": odd}, uploads, START)
    assert [upload.key for upload, _ in plan.due] == ["a.mp4", "c.mp4", "b.mp4", "odd.mp4"]


def test_the_third_of_a_b_a_has_a_run_key_of_its_own() -> None:
    assert len({run_key("k", 1, "a"), run_key("k", 2, "b"), run_key("k", 3, "a")}) == 3


@pytest.mark.parametrize(
    ("key", "left_alone"),
    [
        ("a.mp4", False),
        ("cup/final 1.mp4", False),
        (".a.mp4.Xy12", True),
        ("cup/.tmp/a.mp4", True),
        ("cup/", True),
    ],
)
def test_folders_and_hidden_names_are_left_alone(key: str, left_alone: bool) -> None:
    assert hidden(key) is left_alone


def test_the_path_of_an_object_leads_back_to_it() -> None:
    assert bucket_key(bucket_path("b", "uploads/x y/é.mp4")) == ("b", "uploads/x y/é.mp4")
    assert bucket_key("/srv/uploads/a.mp4") is None
    with pytest.raises(BadInputError, match="s3://BUCKET/KEY"):
        bucket_key("s3://b")
