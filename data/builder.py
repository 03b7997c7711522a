"""Collects the steps of an episode, refusing at once what could not be stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from data import plain_json
from data.episode import Array, Episode, Step
from data.errors import UserError
from data.spec import ArraySpec, StoreSpec, check_name


class EpisodeBuilder:
    """Builds episodes of one spec: `start`, any number of `add`, `finish`; then it may start again.

    Everything handed in is copied. A refused step leaves what was collected before it untouched.
    """

    def __init__(self, spec: StoreSpec) -> None:
        self.spec = spec
        self._scalars = {"reward": ArraySpec((), "float64"), "source": ArraySpec((), "int32")}
        self._action = ArraySpec((spec.action_size,), "float32")
        self._rows: dict[str, list[Array]] = {}
        self._extras: dict[str, ArraySpec] | None = None
        self._started = False

    def __len__(self) -> int:
        """Number of steps collected so far."""
        return len(self._rows.get("reward", ()))

    def start(self, observation: Mapping[str, Any], stamp_ns: int, extras: Mapping[str, Any] | None = None) -> None:
        """Begins an episode with its first observation; an unfinished one is dropped.

        Each of `extras` must then come with every step too, and gets T + 1 rows.
        """
        row = self._observation(observation, "at the start") | {"stamp_ns": np.array(stamp_ns, np.int64)}
        first = {name: np.array(value, order="C") for name, value in (extras or {}).items()}
        for name, value in first.items():
            check_name(name, "an extra's name")
            ArraySpec(value.shape, value.dtype.name)
        self._rows = {path: [value] for path, value in row.items()} | {f"extras/{n}": [v] for n, v in first.items()}
        self._extras = None
        self._started = True

    def add(self, step: Step) -> None:
        """Adds a step; `UserError` naming key and step for another shape or type, a NaN, a stamp that does not rise."""
        if not self._started:
            raise UserError("a step came before the first observation; call start() first")
        number, where = len(self), f"at step {len(self)}"
        if number and (self._rows["terminated"][-1] or self._rows["truncated"][-1]):
            raise UserError(f"a step came after the end of the episode ({where}); call finish() and start() first")
        if step.stamp_ns <= self._rows["stamp_ns"][-1]:
            before = self._rows["stamp_ns"][-1]
            raise UserError(f"stamp_ns {where}: expected above {before}, got {step.stamp_ns}; use a monotonic clock")
        row = self._observation(step.observation, where)
        row["action_proposed"] = self._action.take(step.action_proposed, f"action_proposed {where}")
        row["action_executed"] = self._action.take(step.action_executed, f"action_executed {where}")
        row |= {name: spec.take(getattr(step, name), f"{name} {where}") for name, spec in self._scalars.items()}
        row |= {"terminated": np.array(bool(step.terminated)), "truncated": np.array(bool(step.truncated))}
        row |= {"stamp_ns": np.array(step.stamp_ns, np.int64)} | self._extras_row(step.extras, where)
        for path, value in row.items():
            self._rows.setdefault(path, []).append(value)

    def finish(self, success: bool, info: Mapping[str, Any] | None = None) -> Episode:
        """Returns the episode.

        One whose last step has neither flag is marked as truncated: what would have followed is unknown. A number of
        `info` that is not finite is kept as None, so that a figure without a value never costs an episode.
        """
        if not len(self):
            raise UserError("an episode needs at least one step, got none; do not store it")
        plain = plain_json.normalised(plain_json.without_nan(dict(info or {})), "an episode's info")
        arrays = {path: np.stack(rows) for path, rows in self._rows.items()}
        if not arrays["terminated"][-1]:
            arrays["truncated"][-1] = True
        episode = Episode.from_arrays(arrays, bool(success), plain)
        episode.check(self.spec)
        self._rows, self._started = {}, False
        return episode

    def _observation(self, observation: Mapping[str, Any], where: str) -> dict[str, Array]:
        expected = self.spec.observations
        if observation.keys() != expected.keys():
            raise UserError(f"observation {where}: expected the keys {sorted(expected)}, got {sorted(observation)}")
        names = {key: f"observation '{key}' {where}" for key in expected}
        return {f"observations/{key}": item.take(observation[key], names[key]) for key, item in expected.items()}

    def _extras_row(self, extras: Mapping[str, Any], where: str) -> dict[str, Array]:
        values = {name: np.asarray(value) for name, value in extras.items()}
        if self._extras is None:  # the first step settles which extras there are, and their form
            for name in values:
                check_name(name, "an extra's name")
            started = {path.removeprefix("extras/"): rows[0] for path, rows in self._rows.items() if "extras/" in path}
            forms = {name: ArraySpec(value.shape, value.dtype.name) for name, value in (values | started).items()}
        else:
            forms = self._extras
        if values.keys() != forms.keys():
            raise UserError(f"extras {where}: expected {sorted(forms)}, got {sorted(values)}; give all in each step")
        row = {f"extras/{n}": form.take(values[n], f"extra '{n}' {where}", finite=False) for n, form in forms.items()}
        self._extras = forms
        return row
