"""Text from outside (boards, brands, file names) is text on Dagster's pages: no picture, no link, no HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from detection_assets.checks.outputs import compared_metadata, result
from detection_assets.metadata.markdown import JOINER, as_table, bullets, command, picture, plain, prose
from detection_assets.metadata.materialization import described
from detection_assets.metadata.pictures import findings
from detection_assets.metadata.report_summary import brand_table
from io_managers.stage_io import StageOutput
from touchline.checks import brands_known, exposure_fits
from touchline.library.tables import DetectJob
from touchline.report import Report
from touchline.values import Image, Quad, Reading

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = (
    "![x](http://h/p.png)",
    "![x][ref]\n\n[ref]: http://h/p.png",
    "[a](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "<http://h/>",
    "http://h/p.png",
    "www.evil.example/x",
    "someone@evil.example",
    "mailto:someone@evil.example",
    "a | b | ![x](http://h/p.png)",
    "`code` ``` more",
    "&lt;img&gt; &#33;[x](http://h)",
    "*bold* _it_ __b__ ~~gone~~",
    "# heading",
    "1. one",
    "+ one",
    "> said",
    "---",
    "x\n---\n# y\n- z",
    "\\![x](http://h/p.png)",
    "\u202egnp.exe",
    "[^1]",
    "- [ ] task",
)
ADDRESSES = re.compile(r"(https?://|www(?=\.))([-.\w]+)|[-.\w+]+@[-\w]+(?:\.[-\w]+)+", re.IGNORECASE)
"""What GitHub's Markdown makes a link of without being asked, looked for once backslashes are gone."""
FLAVOUR = MarkdownIt("commonmark").enable(["table", "strikethrough"])
FORMS = {"paragraph", "bullet_list", "list_item", "table", "thead", "tbody", "tr", "th", "td", "inline", "text"}


def tokens(markdown: str) -> Iterator[Token]:
    for token in FLAVOUR.parse(markdown):
        yield token
        yield from token.children or ()


def shown(markdown: str, *, code: bool = False) -> str:
    """All text of a piece of Markdown. Fails if there is anything but text in paragraphs, lists and tables.

    With `code` there may be spans of code too, which are left out: no address in them becomes a link.
    """
    text = ""
    for token in tokens(markdown):
        kind = re.sub("_(open|close)$", "", token.type)
        assert kind in FORMS or (code and kind == "code_inline"), f"{kind} in {markdown!r}"
        text += token.content if kind == "text" else ""
    assert not ADDRESSES.search(text), f"an address in {text!r}"
    return text


def seen(text: str) -> str:
    return text.replace(JOINER, "")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_in_paragraphs_lists_and_tables(text: str) -> None:
    expected = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    assert seen(shown(plain(text))) == expected
    assert seen(shown(f"- {plain(text)}")) == expected
    cells = [t.content for t in FLAVOUR.parse(as_table(("a", "b"), [[plain(text), "1"]])) if t.type == "inline"]
    assert len(cells) == 4
    assert seen(shown(as_table(("a", "b"), [[plain(text), "1"]]))) == f"ab{expected}1"


@given(
    st.lists(
        st.text(alphabet=st.sampled_from(r"![]()<>|`*_~#-+=.:/\&;@w1a "), max_size=12)
        | st.sampled_from(["`touchline gc`", "`", "``", "\\`", "<a href='`'>", "[x](`", "`http://h/`"]),
        max_size=6,
    )
)
def test_in_a_sentence_code_stays_code_and_everything_else_is_text(parts: list[str]) -> None:
    text = "".join(parts)
    for form in (prose(text), f"- {prose(text)}"):
        shown(form, code=True)
    spans = [token.content.strip() for token in tokens(f"x {prose(text)}") if token.type == "code_inline"]
    singles = re.findall(r"(?<!`)`(?!`)([^`]*[^`\s][^`]*)`(?!`)", " ".join(text.split()))
    assert spans == [span.strip() for span in singles]


def test_a_command_in_a_warning_is_code_and_what_stands_around_it_is_not() -> None:
    said = "`touchline brands import FILE` adds ![x](http://h/p.png) | <b>"
    kinds = [token.type for token in tokens(prose(said))]
    assert kinds.count("code_inline") == 1
    assert seen(shown(prose(said), code=True)) == " adds ![x](http://h/p.png) | <b>"
    assert str(bullets([said]).value) == f"- {prose(said)}"
    assert shown(prose("``` `` never `\n closed")) == "``` `` never ` closed"


@given(st.text(alphabet=st.sampled_from(r"![]()<>|`*_~#-+=.:/\&;@w1a " + "\n\u202e"), max_size=40))
def test_any_text_is_text(text: str) -> None:
    for form in (plain(text), f"- {plain(text)}", as_table(("a",), [[plain(text)]])):
        shown(form)
    assert seen(shown(f"x {plain(text)}")).removeprefix("x").strip() == " ".join(text.replace("\u202e", " ").split())


def test_names_that_are_not_odd_stay_as_they_are() -> None:
    for text in ("Qatar Airways (board)", "serie_a/match_01.mp4: 3 of 5", "Coca-Cola", "Lay's", "AT&T", "caffè"):
        assert plain(text) == text
    assert len(plain("a" * 500)) == 200


def test_only_pictures_that_need_no_fetch_are_shown() -> None:
    assert picture("data:image/webp;base64,AAAA", "a]b") == "![a\\]b](data:image/webp;base64,AAAA)"
    with pytest.raises(ValueError, match="data: URI"):
        picture("http://h/p.png", "x")
    with pytest.raises(ValueError, match="without a backtick"):
        command("touchline report a`b")


def test_one_file_alone_makes_markdown() -> None:
    makers = [
        path.relative_to(ROOT).as_posix()
        for folder in ("detection_assets", "io_managers", "resources")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"MetadataValue\.md\(|MarkdownMetadataValue\(", path.read_text("utf-8"))
    ]
    assert makers == ["detection_assets/metadata/markdown.py"]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_materializations_and_checks_show_is_text(text: str) -> None:
    quad: Quad = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))
    frame: Image = np.zeros((90, 160, 3), np.uint8)
    reading = Reading(0, 0.0, 0, 0, text, 0.9, quad, "board", "frame", 1.0, 9.0)
    found: dict[str, Any] = findings("run_ocr", [reading], lambda _: frame)
    brand = SimpleNamespace(name=text, seconds=1.0, zones={}, stretches=(), occurrences=1, visibility=0.5, evidence=())
    shown(brand_table(cast(Report, SimpleNamespace(brands=[brand]))))
    stats = {"warnings": [text], "engine": text}
    found |= described(StageOutput(cast(DetectJob, None), "run_ocr", "", None, None, stats=stats, wall_s=1.0))
    verdicts = [
        brands_known({"id": text}, ()),
        exposure_fits({"duration_s": 1, "brands": [{"name": text, "seconds": 9, "zones": {}, "solus_seconds": 0}]}),
    ]
    for number, verdict in enumerate(verdicts):
        one = result("match_brands", "brands_known", verdict)
        shown(one.description or "")
        found |= {f"{number}{name}": value for name, value in compared_metadata(verdict.compared).items()}
    marked = {name: value.value for name, value in found.items() if isinstance(value, dg.MarkdownMetadataValue)}
    assert {"warnings", "stats", "0unknown", "1faults"} <= set(marked)
    assert not {"found", "overlays_and_numbers"}.isdisjoint(marked)
    for name, markdown in marked.items():
        assert isinstance(markdown, str)
        rest = re.sub(r"!\[.*?\]\(data:[^)]*\)", "", markdown) if name == "picture" else markdown
        shown(rest, code=name in ("warnings", "0unknown", "1faults"))
