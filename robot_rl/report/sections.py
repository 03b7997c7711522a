"""The words and tables of a run's report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

import numpy as np

from robot_rl.report import page
from robot_rl.report.figures import episodes_of
from robot_rl.report.plots import data_uri
from robot_rl.report.run_data import FINAL, Record, RunData
from robot_rl.report.statistics import WITH_EXPLORATION, bootstrap_interval, mean_shares, wilson_interval

_BOOTSTRAP_SEED = 0


def percent(share: float) -> str:
    """Returns a share as whole percents, with one decimal where that matters."""
    return f"{share:.0%}" if abs(share * 100 - round(share * 100)) < 0.05 else f"{share:.1%}"


def headline(run: RunData) -> str:
    """Returns the one sentence that the report says."""
    before, after = run.before, run.after
    last = after or before
    if last is None:
        return f"{run.name}: {len(run.episodes)} training episodes, {run.training_step:,} steps, not evaluated yet"
    steps = f"after {last['step']:,} environment steps" if last["step"] else "by imitation alone"
    cost = _cost(run, int(last["step"]))
    if not run.by_success:
        start = f"from {before['mean_return']:.4g} to " if before and after else ""
        return f"{run.name}: mean return {start}{last['mean_return']:.4g} {steps}{cost}"
    result = f"{percent(last['success_rate'])} of {len(episodes_of(last))} evaluation episodes"
    if before and after:
        result = f"from {percent(before['success_rate'])} to {result}"
    return f"{run.name}: {result} {steps}{cost}"


def _cost(run: RunData, step: int) -> str:
    robot_s, reset_s, wall_s = run.clock_at(step)
    parts = [f"{(robot_s + reset_s) / 60:.1f} robot minutes with resets"] if robot_s else []
    parts += [f"{wall_s / 60:.1f} minutes of training"] if wall_s else []
    return f": {', '.join(parts)}" if parts else ""


def tiles(run: RunData) -> str:
    """Returns the figures at a glance."""
    entries: list[tuple[str, str]] = []
    for label, record in run.compared():
        if run.by_success:
            interval = f"95 % interval {percent(record['low'])} to {percent(record['high'])}"
            entries.append(
                (
                    percent(record["success_rate"]),
                    f"success of the {label}; {interval}, {len(episodes_of(record))} episodes",
                )
            )
        else:
            entries.append((f"{record['mean_return']:.4g}", f"mean return, {label}"))
    if run.by_success and run.episodes:
        reached = run.steps_to_target()
        text = f"steps to the first of two evaluations in a row at {run.target:.0%}"
        entries.append((f"{reached:,}" if reached is not None else "not yet", text))
        dip = run.worst_dip()
        if dip is not None and run.before and run.before.get("name") == "base":
            entries.append((f"{dip * 100:.0f} points", "worst dip of an evaluation below the imitated base"))
    robot_s, reset_s, wall_s = run.clock_at(run.training_step)
    if robot_s:
        entries.append(
            (
                f"{robot_s / 60:.1f} min",
                f"robot time of {run.training_step:,} steps; resets {reset_s / 60:.1f} min more",
            )
        )
    if wall_s:
        entries.append((f"{wall_s / 60:.1f} min", "wall-clock of acting and learning"))
    return page.tiles([*entries, *_whole_command(run)])


def _whole_command(run: RunData) -> list[tuple[str, str]]:
    """What the command as a whole took, where it said so; the last record, if it was typed again."""
    record = run.summaries[-1] if run.summaries else {}
    entries = []
    if record.get("total_s") is not None:
        entries.append((f"{record['total_s'] / 60:.1f} min", "wall-clock of the whole command, evaluations included"))
    if record.get("peak_rss_mb") is not None:
        entries.append((f"{record['peak_rss_mb']:,.0f} MB", "peak memory of the command's process"))
    return entries


def mean_cell(values: Sequence[float], digits: int, unit: str) -> str:
    """Returns a mean with its bootstrap interval, as a cell of a table."""
    if not values:
        return "-"
    low, high = bootstrap_interval(values, np.random.default_rng(_BOOTSTRAP_SEED))
    interval = f"|{low:.{digits}f} to {high:.{digits}f}" if np.isfinite(low) else ""
    return f"{fmean(values):.{digits}f} {unit}".rstrip() + interval


def before_after(run: RunData) -> str:
    """Returns the table of evaluation figures before and after, each with its 95 % interval."""
    columns = [(name, episodes_of(record)) for name, record in run.compared() if episodes_of(record)]
    if not columns:
        return ""

    def value(key: str, digits: int, unit: str, only_successes: bool = False) -> Callable[[list[Record]], str]:
        def cell(items: list[Record]) -> str:
            chosen = [item for item in items if item.get(key) is not None and (item["success"] or not only_successes)]
            return mean_cell([float(item[key]) for item in chosen], digits, unit)

        return cell

    rows: list[tuple[str, Callable[[list[Record]], str]]] = [("success rate", _success)] if run.by_success else []
    if run.on_robot:
        rows += [
            ("cycle time of successes", value("robot_s", 2, "s", only_successes=True)),
            ("peak contact force", value("peak_force_n", 1, "N")),
            ("mean contact force", value("mean_force_n", 2, "N")),
            ("decisions that the safety chain changed", value("limited_share", 3, "")),
        ]
    if any(item.get("energy_j") for _, items in columns for item in items):
        rows.append(("energy of an episode", value("energy_j", 2, "J")))
    rows += [("return", value("return", 3, "")), ("steps an episode", value("length", 1, ""))]
    body = [[label, *(cell(items) for _, items in columns)] for label, cell in rows]
    if run.by_success and run.episodes:
        explored = run.episodes[-WITH_EXPLORATION:]
        label = f"with exploration, last {len(explored)} training episodes"
        places = ["-" if name != FINAL else _success(explored) for name, _ in columns]
        body.insert(1, [label, *places])
    return page.table(["", *(name for name, _ in columns)], body)


def _success(items: list[Record]) -> str:
    successes = sum(bool(item["success"]) for item in items)
    return rate_cell(successes, len(items))


def rate_cell(count: int, total: int) -> str:
    """Returns a share with its Wilson interval, as a cell of a table."""
    low, high = wilson_interval(count, total)
    return f"{count} of {total} = {percent(count / total)}|{percent(low)} to {percent(high)}"


def evaluations(run: RunData) -> str:
    """Returns the table of all evaluations in their order."""
    return page.details(f"all {len(run.evals)} evaluations", _table_of(run, run.evals)) if run.evals else ""


def later(run: RunData) -> str:
    """Returns the table of what was evaluated after the training, by `robot-rl evaluate`."""
    return _table_of(run, run.later, with_layers=True) if run.later else ""


def _table_of(run: RunData, records: list[Record], with_layers: bool = False) -> str:
    head = ["evaluation", "policy acts", "steps", "success", "mean return", "mean length"]
    rows = []
    for record in records:
        count = len(episodes_of(record))
        rate = f"{percent(record['success_rate'])}|{percent(record['low'])} to {percent(record['high'])}, n = {count}"
        mode = "deterministically" if record.get("deterministic", True) else "with exploration"
        success = rate if run.by_success else "-"
        figures = [f"{record['mean_return']:.4g}", f"{record['mean_length']:.1f}"]
        rows.append([str(record.get("name") or "during training"), mode, f"{record['step']:,}", success, *figures])
    if with_layers:
        head.insert(2, "safety layers not on")
        for row, record in zip(rows, records, strict=True):
            row.insert(2, _layers_not_on(record.get("safety_layers")))
    return page.table(head, rows, numeric_from=2 + with_layers)


def _layers_not_on(layers: Mapping[str, str] | None) -> str:
    """What does less than by default; a dash where an earlier version did not keep it."""
    if layers is None:
        return "-"
    less = {
        name: state
        for name, state in layers.items()
        if not state.startswith("on") or "once a command" in state or "gate not asked" in state
    }
    return ", ".join(f"{name}: {state}" for name, state in less.items()) or "none"


def sources(run: RunData) -> str:
    """Returns the share of executed actions by who proposed them, weighted by the episodes' lengths."""
    groups = [("training", run.episodes), *((name, episodes_of(record)) for name, record in run.compared())]
    shares = {name: mean_shares(items) for name, items in groups}
    shares = {name: share for name, share in shares.items() if share}
    names = sorted({source for share in shares.values() for source in share})
    rows = [[source, *(percent(share.get(source, 0.0)) for share in shares.values())] for source in names]
    return page.table(["actions proposed by", *shares], rows)


def endings(run: RunData) -> str:
    """Returns how the episodes of training and of both evaluations ended."""
    groups = [("training", run.episodes), *((name, episodes_of(record)) for name, record in run.compared())]
    groups = [group for group in groups if group[1]]
    counts = [
        (name, Counter(str(item.get("end") or "unfinished") for item in items), len(items)) for name, items in groups
    ]
    ends = sorted({end for _, counter, _ in counts for end in counter})
    rows = [[end, *(f"{counter[end]}|{percent(counter[end] / total)}" for _, counter, total in counts)] for end in ends]
    return page.table(["episodes ended by", *(name for name, _, _ in counts)], rows)


def resets(run: RunData) -> str:
    """Returns the statistics of all resets, and names one that teleports."""
    everything = [*run.episodes, *episodes_of(run.before), *episodes_of(run.after)]
    items = [item for item in everything if item.get("reset_attempts") or item.get("reset_s")]
    if not items:
        return ""
    kinds = Counter(str(item.get("reset_kind") or "automatic") for item in items)
    rows = []
    for kind, count in kinds.most_common():
        times = [float(item["reset_s"]) for item in items if str(item.get("reset_kind") or "automatic") == kind]
        attempts = [
            int(item.get("reset_attempts") or 0) for item in items if str(item.get("reset_kind") or "automatic") == kind
        ]
        again = sum(attempt > 1 for attempt in attempts)
        spread = [f"{median(times):.1f} s", f"{float(np.quantile(times, 0.95)):.1f} s", f"{max(times):.1f} s"]
        rows.append([kind, str(count), *spread, f"{again}|{percent(again / count)}", str(max(attempts))])
    head = ["kind", "resets", "median", "95 %", "longest", "needed another attempt", "most attempts"]
    named = [kind for kind in kinds if "teleport" in kind.lower()]
    note = (
        page.warning(f"This run used a teleporting reset ({', '.join(named)}), which no real robot has.")
        if named
        else ""
    )
    return note + page.table(head, rows)


def strips(run: RunData) -> str:
    """Returns the film strips with their captions, and why some are missing."""
    shown = [
        page.picture(data_uri(path.read_bytes(), "image/png"), text, text, strip=True) for path, text in run.strips
    ]
    return "".join([*shown, *(page.warning(note) for note in run.notes)])


def ablation(run: RunData) -> str:
    """Returns the ablation table: rows of a name, successes among episodes, and any further columns."""
    if run.ablation is None:
        return ""
    rows: list[dict[str, Any]] = run.ablation["rows"]
    fixed = ("name", "success_rate", "episodes")
    further = list(dict.fromkeys(key for row in rows for key in row if key not in fixed))
    body = []
    for row in rows:
        count, rate = row.get("episodes"), float(row["success_rate"])
        interval = wilson_interval(round(rate * count), count) if count else None
        text = percent(rate) + (f"|{percent(interval[0])} to {percent(interval[1])}, n = {count}" if interval else "")
        body.append([str(row["name"]), text, *(str(row.get(key, "-")) for key in further)])
    return page.table(["", "success", *further], body)


def configuration(run: RunData) -> str:
    """Returns the run's settings and the surroundings it ran in, side by side."""
    settings = {key: value for key, value in run.config.items() if key != "kind" and value is not None and value != {}}
    if run.demonstrations:
        noted = run.demonstrations[-1]
        settings["demonstrations"] = f"{noted['episodes']} episodes, SHA-256 {noted['sha256']}"
    columns = [f"<div>{page.pairs(settings)}</div>"]
    if run.environments:
        current = dict(run.environments[-1])
        versions = current.pop("packages", {})
        columns.append(f"<div>{page.pairs({**current, **versions})}</div>")
    note = ""
    if len(run.demonstrations) > 1:
        note = page.warning("The demonstrations changed between parts of this run; the digest is of the last.")
    if len(run.environments) > 1:
        note += page.warning(
            f"The surroundings changed {len(run.environments) - 1} times between parts of this run; these are the last."
        )
    return f'{note}<div class="columns">{"".join(columns)}</div>'
