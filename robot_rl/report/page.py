"""Pieces of HTML and the page around them: inline style, no script, nothing from the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { --ink: #1c2229; --soft: #59636e; --line: #dde2e7; --wash: #f5f7f9; --accent: #1a6b8a; --before: #c0692b; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 15px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 40px 28px 72px; }
header p.kind { margin: 0 0 6px; color: var(--soft); font-size: 13px; letter-spacing: .04em; }
h1 { font-size: 26px; line-height: 1.28; font-weight: 650; margin: 0 0 22px; max-width: 46em; text-wrap: balance; }
h2 { font-size: 17px; font-weight: 650; margin: 42px 0 6px; padding-top: 14px; border-top: 1px solid var(--line); }
p.say { margin: 0 0 12px; color: var(--soft); max-width: 62em; }
p.warn { border-left: 4px solid var(--before); background: #fdf6f0; padding: 9px 14px; margin: 12px 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 1px; background: var(--line);
  border: 1px solid var(--line); }
.tile { background: #fff; padding: 13px 16px 11px; }
.tile b { display: block; font-size: 22px; font-weight: 620; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile span { display: block; color: var(--soft); font-size: 12.5px; line-height: 1.35; margin-top: 2px; }
img { max-width: 100%; height: auto; display: block; }
figure { margin: 12px 0 22px; }
figcaption { color: var(--soft); font-size: 13.5px; margin-top: 6px; }
.strip img { border: 1px solid var(--line); width: 100%; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: 6px 0 14px; }
th, td { text-align: left; padding: 5px 22px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); font-size: 13px; }
td.n, th.n { text-align: right; white-space: nowrap; }
td small { color: var(--soft); font-size: 12.5px; white-space: nowrap; }
code, td.k { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 12.5px;
  overflow-wrap: anywhere; }
details > summary { cursor: pointer; color: var(--accent); margin: 8px 0; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 0 44px;
  align-items: start; }
footer { margin-top: 48px; color: var(--soft); font-size: 13px; border-top: 1px solid var(--line); padding-top: 12px; }
@media print { main { padding: 0; max-width: none; } figure, .tiles, tr { break-inside: avoid; } }
"""
_META = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'


def page(title: str, body: Sequence[str]) -> str:
    """Returns a whole HTML document."""
    head = f"{_META}<title>{escape(title)}</title><style>{_STYLE}</style>"
    content = "\n".join(part for part in body if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{content}\n</main></body></html>\n'


def header(kind: str, headline: str) -> str:
    """Returns the page's head: what it is, and the one sentence that it says."""
    return f'<header><p class="kind">{escape(kind)}</p><h1>{escape(headline)}</h1></header>'


def section(title: str, *parts: str, say: str = "") -> str:
    """Returns a titled section, nothing where all its parts are empty."""
    filled = [part for part in parts if part]
    if not filled:
        return ""
    lead = f'<p class="say">{escape(say)}</p>' if say else ""
    return f"<section><h2>{escape(title)}</h2>{lead}{''.join(filled)}</section>"


def tiles(entries: Sequence[tuple[str, str]]) -> str:
    """Returns a row of (figure, explanation)."""
    cells = "".join(
        f'<div class="tile"><b>{escape(big)}</b><span>{escape(small)}</span></div>' for big, small in entries
    )
    return f'<div class="tiles">{cells}</div>'


def picture(uri: str | None, alt: str, caption: str = "", strip: bool = False) -> str:
    """Returns a figure of a data URI, nothing for None."""
    if uri is None:
        return ""
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure{" class=strip" if strip else ""}><img src="{uri}" alt="{escape(alt)}">{text}</figure>'


def warning(text: str) -> str:
    """Returns a paragraph that stands out."""
    return f'<p class="warn">{escape(text)}</p>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric_from: int = 1) -> str:
    """Returns a table, columns from `numeric_from` right-aligned; a cell "big|small" shows the second part smaller."""
    if not rows:
        return ""

    def line(cells: Sequence[str], tag: str) -> str:
        marks = ["" if index < numeric_from else ' class="n"' for index in range(len(cells))]
        inner = "".join(f"<{tag}{mark}>{_cell(cell)}</{tag}>" for cell, mark in zip(cells, marks, strict=True))
        return f"<tr>{inner}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="scroll"><table><thead>{line(head, "th")}</thead><tbody>{body}</tbody></table></div>'


def _cell(text: str) -> str:
    big, bar, small = text.partition("|")
    return f"{escape(big)} <small>{escape(small)}</small>" if bar else escape(big)


def pairs(entries: Mapping[str, Any]) -> str:
    """Returns a two-column table of names and values."""
    rows = "".join(
        f'<tr><td class="k">{escape(str(key))}</td><td class="k">{escape(str(value))}</td></tr>'
        for key, value in entries.items()
    )
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>' if rows else ""


def details(label: str, content: str) -> str:
    """Returns content that opens on a click."""
    return f"<details><summary>{escape(label)}</summary>{content}</details>" if content else ""
