"""Human in the loop: who has the arm for the next decision, a policy or a person; see docs/teleoperation.md.

Both edges are free of jumps, since every action is an increment from the measured pose: whoever takes over begins where
the arm is, and the reference limiter bounds how fast the reference goes there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from controllers.types import Source
from data.errors import UserError
from robot_rl.training.workplace import F32, ArmWorkplace, Outcome

if TYPE_CHECKING:
    from robot_rl.agents.base import Proposal

INTERVENED = frozenset({int(Source.HUMAN), int(Source.SCRIPTED)})
"""Sources of intervened transitions. While a person has the arm and lets go of the dead-man the source is HOLD."""
RLIF_REWARD = -1.0
TAKEOVER_FIGURES = ("mean_takeovers", "human_share", "successes_alone")
"""Figures of an evaluation in which somebody could take over."""


@dataclass(frozen=True)
class TakeoverConfig:
    """When a person has the arm, and what that is worth."""

    rlif: bool = False
    """Learn from interventions alone (RLIF): -1 for the decision after which a person takes over, 0 for all others."""
    hand_back_s: float = 0.5
    """By hand: the policy gets the arm back this long after the last motion of the stick [s], at least 0."""
    patience_steps: int = 8
    """Played: takes over after so many decisions in a row without progress, at least 1."""
    progress_m: float = 0.001
    """Played: less than this beyond the best so far is no progress [m], at least 0."""
    force_steps: int = 2
    """Played: takes over after so many decisions in a row with too much force, at least 1."""
    force_share: float = 0.8
    """Played: share of the task's `max_force_n` above which a decision's peak is too much, > 0."""
    hold_steps: int = 12
    """Played: hands back after so many decisions, at least 1."""

    def __post_init__(self) -> None:
        for name in ("patience_steps", "force_steps", "hold_steps"):
            if getattr(self, name) < 1:
                raise UserError(f"human_config.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("hand_back_s", "progress_m", "force_share"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise UserError(f"human_config.{name} must be a number of at least 0, got {getattr(self, name)}")


class Person(Protocol):
    """Who may take over."""

    def begin(self, seed: int) -> None:
        """An episode begins, drawn from this seed."""

    def wants_arm(self, outcome: Outcome | None) -> bool:
        """Whether the person has the arm for the next decision; outcome: of the one before, None at the start."""

    def act(self) -> Proposal:
        """Returns the person's action (action_size,), for the newest observation."""

    def verdict(self) -> bool | None:
        """Whether the person just called the task done (True) or failed (False); None without a verdict."""


class Takeover:
    """Who has the arm; this one leaves it to the policy always."""

    def begin(self, seed: int) -> None:
        """An episode begins."""

    def propose(self, agent: Any, obs: F32, extras: Mapping[str, F32], deterministic: bool) -> Proposal:
        """Returns the next action and its source."""
        proposal: Proposal = agent.act(obs, extras, deterministic)
        return proposal

    def look(self, outcome: Outcome, agent: Any) -> Outcome:
        """After a decision: settles who has the arm for the next. Returns the outcome with the reward to learn from."""
        return outcome

    def verdict(self) -> bool | None:
        """A person's verdict on the episode, None without one."""
        return None

    def tell(self, record: Any) -> None:
        """Writes the episode's figures into its EpisodeRecord."""


class PersonTakeover(Takeover):
    """A person may take the arm between any two decisions, and hand it back."""

    def __init__(self, person: Person, rlif: bool = False) -> None:
        self.person, self.rlif = person, rlif
        self.has_arm = False
        """Whether the person acts next."""
        self.takeovers = self.steps = self.own_steps = 0

    def begin(self, seed: int) -> None:
        """A person who takes over before the first decision intervenes in nothing that the policy did."""
        self.person.begin(seed)
        self.has_arm = self.person.wants_arm(None)
        self.takeovers, self.steps, self.own_steps = int(self.has_arm), 0, 0

    def propose(self, agent: Any, obs: F32, extras: Mapping[str, F32], deterministic: bool) -> Proposal:
        """The person's action, else the agent's, which is not asked while the person has the arm."""
        return self.person.act() if self.has_arm else super().propose(agent, obs, extras, deterministic)

    def look(self, outcome: Outcome, agent: Any) -> Outcome:
        """With `rlif` the reward becomes -1 where this decision made the person take over, 0 elsewhere.

        After a decision of the person's the agent forgets the rest of its plan, which was made for another course.
        """
        had = self.has_arm
        if had:
            agent.begin_episode()
        over = outcome.terminated or outcome.truncated
        self.has_arm = self.person.wants_arm(outcome) and not over
        intervened = self.has_arm and not had
        self.steps, self.own_steps, self.takeovers = self.steps + 1, self.own_steps + had, self.takeovers + intervened
        if not self.rlif:
            return outcome
        return replace(outcome, reward=RLIF_REWARD if intervened else 0.0)

    def verdict(self) -> bool | None:
        """A person's verdict on the episode, None without one."""
        return self.person.verdict()

    def tell(self, record: Any) -> None:
        """`takeovers` and `human_share`, the share of decisions in which the person had the arm."""
        record.takeovers, record.human_share = self.takeovers, self.own_steps / max(1, self.steps)


class PlayedPerson:
    """The task's scripted operator plays the person, by a rule that repeats: for tests and for measuring.

    After RLIF's oracle (Luo et al., arXiv 2311.12996), which intervenes for some steps when the policy does worse than
    it would itself; here "worse" is what an onlooker sees: no progress, or too much force. It acts on the observation
    with all the operator's flaws, and its random numbers belong to the episode's seed, so that a resumed run goes on
    alike.
    """

    def __init__(self, workplace: ArmWorkplace, config: TakeoverConfig) -> None:
        """Raises UserError if the task has no scripted operator."""
        self.workplace, self.config, self.task = workplace, config, workplace.env.task
        self.begin(0)

    def begin(self, seed: int) -> None:
        """A new operator, patient again."""
        self._operator = self.task.operator(np.random.default_rng([seed, 13]))
        self._best_m, self._idle, self._hard, self._left = -math.inf, 0, 0, 0

    def wants_arm(self, outcome: Outcome | None) -> bool:
        """Keeps the arm for `hold_steps` decisions; otherwise judges the policy's newest one."""
        if outcome is None:
            return False
        env, config = self.workplace.env, self.config
        progress_m = self.task.progress_m(env.sensed, env.observed_draw)
        on = progress_m > self._best_m + config.progress_m
        self._best_m = max(self._best_m, progress_m)
        if self._left > 0:
            self._left -= 1
            self._idle = self._hard = 0
            return self._left > 0
        self._idle = 0 if on else self._idle + 1
        hard = float(outcome.info.get("peak_force_n", 0.0)) > config.force_share * self.task.max_force_n
        self._hard = self._hard + 1 if hard else 0
        if self._idle < config.patience_steps and self._hard < config.force_steps:
            return False
        self._left = config.hold_steps
        self._operator.reset()
        return True

    def act(self) -> Proposal:
        """The operator's action for what the policy would have seen."""
        from robot_rl.agents.base import Proposal  # late: it brings torch

        whole = self._operator.act(self.workplace.observation, self.task.action.size)
        return Proposal(np.asarray(whole, np.float32)[self.workplace.columns], Source.SCRIPTED)

    def verdict(self) -> bool | None:
        """None: the task judges."""
        return None


def takeover_summary(records: Sequence[Any]) -> dict[str, float]:
    """Returns the figures of an evaluation (EpisodeRecords), {} unless somebody could take over in each episode."""
    if not records or any(record.takeovers is None for record in records):
        return {}
    decisions = sum(record.length for record in records)
    own = sum(record.human_share * record.length for record in records)
    return {
        "mean_takeovers": sum(record.takeovers for record in records) / len(records),
        "human_share": own / max(1, decisions),
        "successes_alone": float(sum(record.success and record.takeovers == 0 for record in records)) / len(records),
    }
