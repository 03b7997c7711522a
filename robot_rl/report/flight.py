"""`robot-rl safety replay`: what happened around a latch, as one self-contained HTML file."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from controllers.flight.file import Flight, read_flight
from data.atomic import write_atomic
from robot_rl.report import page
from robot_rl.report.plots import AFTER, BEFORE, QUIET, SOURCE_COLOURS, figure, svg_uri
from safety.reasons import Reason
from safety.supervision import reason_name

Array = NDArray[Any]
_BINS = 600
_EVENTS_SHOWN = 60
_ORDINARY_BELOW = int(Reason.TORQUE_RATE)


class Stretch(NamedTuple):
    """Ticks in a row with one reason."""

    begin_s: float
    end_s: float
    reason: int


@cache
def reason_words() -> dict[int, str]:
    """Returns the sentence that explains each reason code: the text below its line in the enum itself."""
    body = ast.parse(textwrap.dedent(inspect.getsource(Reason))).body[0]
    words = {}
    if isinstance(body, ast.ClassDef):
        for line, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and isinstance(text, ast.Expr):
                words[int(Reason[line.targets[0].id])] = str(ast.literal_eval(text.value))
    return words


def write_flight_page(flight_path: Path, out_html: Path) -> Path:
    """Writes the page of a flight file and returns its path. Raises UserError for anything that is not a whole one."""
    write_atomic(out_html, render(read_flight(flight_path), flight_path.name))
    return out_html


def render(flight: Flight, name: str) -> str:
    """Returns the whole page."""
    header, reports = flight.header, flight.reports
    times_s = (reports["stamp_ns"] - header.trip_ns) * 1e-9
    words = reason_words().get(header.reason, "the motor process ended without having said so")
    headline = f"{header.motor}: {header.reason_name.replace('_', ' ').lower()}. {words}"
    body = [
        page.header("flight recorder", headline),
        _tiles(flight, times_s),
        page.warning("The motor process ended before the time after the latch was over.") if header.cut_short else "",
        page.warning(f"{header.lost} reports were lost before they could be read.") if header.lost else "",
        page.section("Time lines", page.picture(_lines(flight, times_s), "Time lines"), say=_LINES),
        page.section(
            "What the tick did", page.picture(_reasons(reports, times_s), "Reasons"), _events(flight, times_s)
        ),
        page.section("Commands", _commands(flight), say=_COMMANDS),
        page.section("File", page.pairs({"file": name, **header.__dict__})),
    ]
    return page.page(headline, body)


_COMMANDS = "As they were sent, accepted or not; renewals left out. Beside a motor process: the newest of each 50 ms."
_LINES = "Seconds from the latch on, which is the dashed line. Where many ticks share a pixel, both extremes are drawn."


def _tiles(flight: Flight, times_s: Array) -> str:
    reports = flight.reports
    force_n, before = _norm(reports["wrench_tool"], 0), times_s <= 0.0
    speed = _norm(reports["twist_base"], 0)
    return page.tiles(
        [
            (f"{-times_s[0]:.1f} s", "recorded before the latch"),
            (_most(force_n, "N"), "largest force on the tool"),
            (_most(speed, "m/s"), "largest speed of the control point"),
            (_most(np.abs(reports["tau_executed_nm"]).max(axis=1), "Nm"), "largest joint torque"),
            (_most(reports["command_age_s"][before], "s"), "oldest command before the latch"),
            (f"{int(reports['refused'][-1] - reports['refused'][0])}", "commands refused"),
        ]
    )


def _most(values: Array, unit: str) -> str:
    finite = values[np.isfinite(values)]
    return f"{finite.max():.3g} {unit}" if len(finite) else "-"


def _norm(vectors: Array, first: int) -> Array:
    norms: Array = np.linalg.norm(vectors[:, first : first + 3], axis=1)
    return norms


def thin(times_s: Array, values: Array) -> tuple[Array, Array]:
    """Returns at most 2 x 600 points of a line that keep both extremes of each stretch in the order of time."""
    if len(values) <= 2 * _BINS:
        return times_s, values
    picked = set()
    for part in np.array_split(np.arange(len(values)), _BINS):
        finite = part[np.isfinite(values[part])]
        if len(finite):
            picked |= {int(finite[values[finite].argmin()]), int(finite[values[finite].argmax()])}
        else:
            picked.add(int(part[0]))
    index = sorted(picked)
    return times_s[index], values[index]


def _lines(flight: Flight, times_s: Array) -> str:
    reports = flight.reports
    distance_m = _norm(reports["executed_position_base_m"] - reports["position_base_m"], 0)
    panels: list[tuple[str, list[tuple[str, Array]]]] = [
        ("force on the tool [N]", [("norm", _norm(reports["wrench_tool"], 0))]),
        ("moment on the tool [Nm]", [("norm", _norm(reports["wrench_tool"], 3))]),
        ("speed of the control point [m/s]", [("norm", _norm(reports["twist_base"], 0))]),
        ("reference ahead of the arm [mm]", [("distance", 1e3 * distance_m)]),
        ("risk", [("critic", reports["risk"])]),
        ("tank [J]", [("tank", reports["tank_energy_j"])]),
        ("mode of the reflex arbiter", [("mode", reports["mode"].astype(float))]),
        ("age of the command [s]", [("age", reports["command_age_s"])]),
        ("stiffness [N/m]", [(axis, reports["executed_stiffness"][:, i]) for i, axis in enumerate("xyz")]),
        ("applied torque [Nm]", [(str(i + 1), reports["tau_executed_nm"][:, i]) for i in range(7)]),
    ]
    with figure(2, 10.6, 1.75 * 5, rows=5, sharex=True) as (drawn, axes):
        for place, (title, lines) in zip(axes.flat, panels, strict=True):
            for index, (label, values) in enumerate(lines):
                colour = AFTER if len(lines) == 1 else SOURCE_COLOURS[index]
                place.plot(*thin(times_s, values), color=colour, linewidth=1.0, label=label)
            if not any(np.isfinite(values).any() for _, values in lines):
                place.text(0.5, 0.5, "not in use", ha="center", va="center", transform=place.transAxes, color=QUIET)
            if len(lines) > 1:
                place.legend(ncols=len(lines), fontsize=7, loc="upper left")
            place.axvline(0.0, color=BEFORE, linestyle="--", linewidth=1.0)
            place.set_title(title)
        for place in axes[-1]:
            place.set_xlabel("seconds from the latch")
        return svg_uri(drawn)


def _reasons(reports: Array, times_s: Array) -> str:
    """One row a reason, dark where it was reported."""
    codes = sorted({int(code) for code in reports["reason"]})
    with figure(1, 10.6, 0.5 + 0.24 * len(codes)) as (drawn, axes):
        place = axes[0][0]
        for row, code in enumerate(codes):
            parts = [part for part in stretches(reports["reason"], times_s) if part.reason == code]
            bars = [(part.begin_s, part.end_s - part.begin_s) for part in parts]
            colour = QUIET if code < _ORDINARY_BELOW else BEFORE if code >= Reason.LATCHED else AFTER
            place.broken_barh(bars, (row - 0.35, 0.7), color=colour)
        place.set_yticks(range(len(codes)), [reason_name(code) for code in codes])
        place.axvline(0.0, color=BEFORE, linestyle="--", linewidth=1.0)
        place.set_xlabel("seconds from the latch")
        return svg_uri(drawn)


def stretches(reasons: Array, times_s: Array) -> list[Stretch]:
    """Returns the runs of equal reasons; each ends where the next begins."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(reasons)) + 1])
    ends = np.concatenate([times_s[starts[1:]], times_s[-1:]])
    return [
        Stretch(float(times_s[start]), float(end), int(reasons[start])) for start, end in zip(starts, ends, strict=True)
    ]


def _events(flight: Flight, times_s: Array) -> str:
    """The interventions in words, the last of them; what is ordinary (slewing, leash, box) is left to the picture."""
    words = reason_words()
    parts = [part for part in stretches(flight.reports["reason"], times_s) if part.reason >= _ORDINARY_BELOW]
    shown = parts[-_EVENTS_SHOWN:]
    rows = [
        [
            f"{part.begin_s:+.3f} s",
            f"{1e3 * (part.end_s - part.begin_s):.0f} ms",
            reason_name(part.reason),
            words.get(part.reason, "unknown to this version"),
        ]
        for part in shown
    ]
    left_out = f"{len(parts) - len(shown)} earlier ones are left out." if len(parts) > len(shown) else ""
    table = page.table(["from", "for", "reason", "in words"], rows, numeric_from=4)
    return table + (f'<p class="say">{left_out}</p>' if left_out else "")


def _commands(flight: Flight) -> str:
    commands = flight.commands[-_EVENTS_SHOWN:]
    rows = [
        [
            f"{(int(command['stamp_ns']) - flight.header.trip_ns) * 1e-9:+.3f} s",
            str(int(command["sequence"])),
            " ".join(f"{value:.4f}" for value in command["position_base_m"]),
            " ".join(f"{value:.0f}" for value in command["stiffness"]),
            f"{float(command['duration_s']):.3g} s",
        ]
        for command in commands
    ]
    table = page.table(["at", "sequence", "position [m]", "stiffness [N/m, Nm/rad]", "meant for"], rows, numeric_from=5)
    return page.details(f"{len(rows)} of {len(flight.commands)} commands", table) if rows else ""
