"""The look shared by all figures, and their way into a page: SVG as data URI."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

BEFORE, AFTER, SAMPLED, QUIET = "#c0692b", "#1a6b8a", "#7fb2c4", "#8b949e"
SOURCE_COLOURS = (
    "#1a6b8a",
    "#c0692b",
    "#5b8c5a",
    "#8a5a8c",
    "#c9a227",
    "#5f6b7a",
    "#a3483f",
    "#3f7fa3",
    "#777777",
    "#b5b5b5",
)
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#59636e",
    "axes.labelcolor": "#31373e",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e8ec",
    "grid.linewidth": 0.7,
    "xtick.color": "#59636e",
    "ytick.color": "#59636e",
    "lines.linewidth": 1.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "path",  # the page looks alike everywhere, whatever fonts are installed
    "svg.hashsalt": "robot-rl",  # the same data give the same file
}


@contextmanager
def figure(columns: int, width_in: float, height_in: float, rows: int = 1, **options: Any) -> Iterator[tuple[Any, Any]]:
    """Yields (figure, axes (rows, columns)) in this project's look; no global state of matplotlib stays touched."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        drawn = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasSVG(drawn)
        yield drawn, drawn.subplots(rows, columns, squeeze=False, **options)


def svg(drawn: Any, transparent: bool = True) -> bytes:
    """Returns a drawn figure as SVG, equal for equal figures; call it inside `figure`."""
    buffer = BytesIO()
    drawn.savefig(buffer, format="svg", metadata={"Date": None}, transparent=transparent)
    return buffer.getvalue()


def svg_uri(drawn: Any) -> str:
    """Returns a drawn figure as data URI; call it inside `figure`."""
    return data_uri(svg(drawn), "image/svg+xml")


def data_uri(content: bytes, kind: str) -> str:
    """Returns bytes as data URI of a MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
