"""Relative links and images of the pages lead to files, and to headings, that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "launch").rglob("*.md")])
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def relative_links(text: str) -> list[str]:
    """Targets of relative links and images; what looks like one inside code is none."""
    return [target for target in LINK.findall(INLINE.sub("", FENCED.sub("", text))) if not SCHEME.match(target)]


def anchors(text: str) -> set[str]:
    """Names by which headings are linked to, formed as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    broken = []
    for target in relative_links(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = broken_links(page)
    assert not broken, f"{name_of(page)} links to what does not exist: {', '.join(broken)}"


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    missing = sorted({page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} - set(LINK.findall(index)))
    assert not missing, f"docs/index.md does not list {missing}"


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# Two words\n")
    page.write_text(
        "[a](other.md) [b](other.md#two-words) [c](https://example.org) `[d](code.md)`\n"
        "```\n[e](fenced.md)\n```\n"
        "[f](absent.md) ![g](absent.svg) [h](other.md#three-words) [i](#nowhere)\n"
    )
    assert broken_links(page) == ["absent.md", "absent.svg", "other.md#three-words", "#nowhere"]
