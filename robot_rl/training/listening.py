"""Episodes of an arm that somebody else commands, read off its tick reports alone.

`RobotEnv` makes decisions; here they are only listened to. Time is cut into the task's decisions from the first report
on: a period each, or less where the reflex arbiter takes the arm or gives it back. What is worked out of the reports of
one decision (what was sensed, observed, executed, judged) comes from the same functions as in `RobotEnv`.

Of the action that was wished, reports tell what was commanded last in a decision: the action that asks for that target
from where the tool stood at its beginning. A target that the task had clipped is told as clipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controllers.description.geometry import Pose
from data.errors import UserError
from robot_rl.envs.action_map import ActionMap
from robot_rl.envs.execution import Execution, Interventions, before_the_drop
from robot_rl.envs.sensing import sense_reports, spent_since
from robot_rl.tasks.base import Draw, Sensed, Task
from safety.reasons import Reason
from safety.reflex import Mode

Array = NDArray[np.float64]
Reports = NDArray[Any]
MAX_LOST_TICKS = 10
"""A decision that lacks more tick reports than this is no record of what happened."""
_FOLLOWED = ("position_base_m", "quaternion_base_xyzw", "stiffness", "gripper_m")


@dataclass(frozen=True, eq=False)
class Decided:
    """One decision, and what came after it."""

    observation: dict[str, NDArray[Any]]
    """Without pictures."""
    stamp_ns: int
    """Of the observation, on the motor's clock."""
    proposed: NDArray[np.float32]
    executed: NDArray[np.float32]
    reward: float
    terminated: bool
    truncated: bool
    source: int
    """Whose commands led for most of it, or the recovery."""
    info: dict[str, Any]
    """What a step of RobotEnv tells, without cameras."""


class ReportedDecisions:
    """The decisions of one episode."""

    def __init__(self, task: Task, T_base_goal: Pose, reports: Reports) -> None:
        """reports: the REPORT records (n,) up to the beginning, of the last 50 ms at least.

        T_base_goal: the goal as it is observed. Raises UserError if the newest report holds a number that is no number.
        """
        self._task, self._tick_hz = task, task.chain_config().rate_hz
        self._before = sense_reports(reports, self._tick_hz)
        self._draw = Draw({}, T_base_goal, self._before.T_base_tool)
        self._map = ActionMap(task.action, T_base_goal, task.scene().tool.gripper_range_m)
        self._previous = np.zeros(task.action.size)
        self._periods, self._interventions = 0.0, Interventions()
        self._period_ticks = round(self._tick_hz / task.rate_hz)
        self._waiting, self._tick = reports[:0], int(reports["tick"][-1])
        self.first_tick, self.lost_reports, self.over = self._tick, 0, False
        self.observation, self.q_rad = self._observed(), self._before.q_rad
        self.stamp_ns = self._before.stamp_ns

    @property
    def last_tick(self) -> int:
        """Returns the tick that ended the newest decision."""
        return self._tick

    def add(self, reports: Reports) -> Iterator[Decided]:
        """Takes the REPORT records (n,) that came next; yields the decisions that they complete, until one ends it all.

        Raises UserError where ticks are missing, or the motor process started over: the episode is then no record.
        """
        if len(reports) and (np.diff(reports["tick"], prepend=self._newest_tick) < 1).any():
            raise UserError("the motor process started over in the middle of the episode: record it again")
        self._waiting = np.concatenate([self._waiting, reports])
        while not self.over and (count := self._complete()):
            mine, self._waiting = self._waiting[:count], self._waiting[count:]
            yield self._conclude(mine)

    @property
    def _newest_tick(self) -> int:
        return int(self._waiting["tick"][-1]) if len(self._waiting) else self._tick

    def _complete(self) -> int:
        """Returns how many of the waiting reports make up the next decision; 0 while it goes on."""
        ticks, end = self._waiting["tick"], self._tick + self._period_ticks
        turned = np.flatnonzero((self._waiting["mode"] >= Mode.REFLEX) != (self._before.mode >= Mode.REFLEX))
        if turned.size and ticks[turned[0]] <= end:
            return int(turned[0]) + 1
        return int(np.searchsorted(ticks, end, side="right")) if len(ticks) and ticks[-1] >= end else 0

    def _conclude(self, reports: Reports) -> Decided:
        task, before = self._task, self._before
        self._count_lost(reports)
        sensed = self._before = sense_reports(reports, self._tick_hz)
        execution = Execution.of(before, sensed, reports, self._tick_hz)
        led, told = before_the_drop(before, sensed, reports) if execution.interrupted else (sensed, reports[-1])
        proposed = self._previous if execution.recovering else self._commanded(before, led, told)
        executed = self._previous = self._map.executed(before, led, proposed, told)
        self._interventions.add(reports, self._tick_hz)
        self._periods += execution.duration_s * task.rate_hz if execution.cut_short else 1.0
        judgement = task.judge(sensed, self._draw)
        held = any(reason >= Reason.LATCHED for reason in sensed.reasons)
        truncated = (held or self._periods > task.max_steps - 0.5) and not judgement.terminated
        self.over = judgement.terminated or truncated
        info = {
            "success": judgement.success,
            "violation": task.violated(sensed),
            "peak_force_n": sensed.peak_force_n,
            "force_n": math.sqrt(sensed.wrench_tool[:3] @ sensed.wrench_tool[:3]),
            "q_rad": sensed.q_rad,
            "held": held,
            "tank_energy_j": sensed.tank_energy_j,
            **spent_since(before, sensed),
            "granted": sensed.granted,
            **execution.as_info(_leader(reports[:-1] if execution.interrupted and len(reports) > 1 else reports)),
            **self._interventions.as_info(),
        }
        return Decided(
            self._observed(),
            sensed.stamp_ns,
            proposed.astype(np.float32),
            executed.astype(np.float32),
            judgement.reward,
            judgement.terminated,
            truncated,
            info["source"],
            info,
        )

    def _count_lost(self, reports: Reports) -> None:
        """The tick in which a decision ends is there; of those before it some may be missing."""
        ends = int(reports["tick"][-1])
        lost = ends - self._tick - len(reports)
        self.lost_reports += lost
        self._tick = ends
        if lost > MAX_LOST_TICKS:
            raise UserError(
                f"{lost} tick reports of one decision are missing: the episode is no record of what happened; see the "
                "load of this machine and of its network, then record it again"
            )

    def _commanded(self, before: Sensed, led: Sensed, told: Any) -> Array:
        """Returns the action that asks for what was commanded last. told: the report of that tick, None without one."""
        if told is None:
            return np.zeros(self._task.action.size)
        wished = told.copy()
        for name in _FOLLOWED:
            wished[f"executed_{name}"] = told[f"proposed_{name}"]
        target = Pose(told["proposed_position_base_m"], told["proposed_quaternion_base_xyzw"])
        nothing = np.zeros(self._task.action.size)
        return self._map.executed(before, replace(led, T_base_reference=target), nothing, wished)

    def _observed(self) -> dict[str, NDArray[Any]]:
        return dict(self._task.observe(self._before, self._draw, self._previous))


def _leader(reports: Reports) -> int:
    """Returns the source whose commands were followed in most ticks; of two with as many the later one."""
    sources, newest = reports["source"], int(reports["source"][-1])
    codes, counts = np.unique(sources, return_counts=True)
    leading = codes[counts == counts.max()].tolist()
    return newest if newest in leading else int(leading[-1])
