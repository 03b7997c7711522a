"""Checks a robot environment: many small checks, each of which says what is wrong, why it matters and the cure.

In the manner of stable-baselines3's environment checker. It moves the arm: run it in simulation, or on a bench with a
hand at the stop button.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from robot_rl.envs.checks import EPISODE, FORM
from robot_rl.envs.checks_again import AGAIN
from robot_rl.envs.trial import Env, Found, run_trial


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with an environment."""

    check: str
    """Name of the check."""
    wrong: str
    why: str
    cure: str

    def __str__(self) -> str:
        return f"{self.check}: {self.wrong}. Why it matters: {self.why}. Cure: {self.cure}."


def check_env(env: Env, *, seed: int = 0, max_steps: int = 1000) -> list[Finding]:
    """Runs two episodes and some bad actions; returns what is wrong, an empty list if nothing is.

    max_steps: give up on an episode that has no end by then. Checks that need a well-formed environment are left out if
    the form itself is wrong.
    """
    findings = [*_run(FORM, env)]
    if findings:
        return findings
    try:
        trial = run_trial(env, seed, max_steps)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [
            Finding(
                "episode",
                f"an episode ended with {type(error).__name__}: {error}",
                "nothing can be trained on it",
                "run reset() and step() by hand with actions of action_space.sample()",
            )
        ]
    findings += _run(EPISODE, trial)
    if not findings:
        findings += _run(AGAIN, trial)
    return findings


def _run(checks: Iterable[Callable[[Any], Iterator[Found]]], subject: Any) -> Iterator[Finding]:
    for check in checks:
        for found in check(subject):
            yield Finding(check.__name__, *found)
