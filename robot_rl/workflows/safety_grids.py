"""The experiments on the safety layers: which arms are compared on which task, driven by whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OFF: dict[str, Any] = {
    "limiter": False,
    "watch": False,
    "ledger": "observe",
    "critic": "never",
    "reflex": False,
    "supervisor": False,
}
"""No layer; the ledger keeps its books, which limit nothing, to count the energy."""


@dataclass(frozen=True)
class Arm:
    """One way to run the same episodes."""

    name: str
    text: str
    driver: str = "operator"
    """Who acts: `operator` (scripted), or the name of one of the grid's policies, trained before."""
    safety_config: dict[str, Any] = field(default_factory=dict)
    task_config: dict[str, Any] = field(default_factory=dict)
    critic: bool = True
    """Whether the task's safety critic is loaded."""
    task: str = ""
    """Another task than the grid's."""


@dataclass(frozen=True)
class CriticRecipe:
    """How the safety critic of a task is made."""

    episodes: int
    """Episodes of each collection."""
    task_configs: tuple[dict[str, Any], ...] = ({},)
    """One collection for each."""
    held_out: str = "default"
    """Variant of the task whose episodes calibrate it."""


CRITICS = {
    "maze": CriticRecipe(250, ({}, {"decision_s": 0.5}), "heldout"),
}


@dataclass(frozen=True)
class SafetyGrid:
    """Arms that are compared with the same seeds."""

    name: str
    question: str
    task: str
    arms: tuple[Arm, ...]
    episodes: int = 200
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Fields of FinetuneConfig of each policy that arms name as their driver."""
    variant: str = "heldout"
    """Variant of the grid's task in which the episodes run."""
    demonstrations: int = 40


_MODES = {"never": "never asked", "decision": "asked once a decision", "control": "asked in every tick"}


def _bresa_arms() -> tuple[Arm, ...]:
    return tuple(
        Arm(
            f"{mode}-{period_s:g}s",
            f"critic {text}, decisions of {period_s:g} s",
            safety_config={"critic": mode},
            task_config={"decision_s": period_s},
        )
        for period_s in (0.1, 0.3, 0.5)
        for mode, text in _MODES.items()
    )


BRESA = SafetyGrid(
    "bresa",
    "Does a critic at the control rate prevent what one at the decision rate does not?",
    "maze",
    _bresa_arms(),
)

TANK_J = 0.6
"""Tank of an episode in the comparison of passivity-aware training and filtering: just enough for a frugal policy."""
ENERGY_BUDGET_J = 2.0
"""Mean energy that an episode may take out of the tank in training; what flows back is not counted against it."""
_LEARN = {
    "steps": 6000,
    "eval_every": 0,
    "final_episodes": 20,
    "safety_config": {"critic": "never", "ledger": "observe"},
}
_AWARE = {"energy_budget_j": ENERGY_BUDGET_J, "lambda_max": 0.5, "lambda_gain": 0.1}
"""A greater multiplier is worth more than the reward of 1: the policy would learn to stand still."""
_UNFILTERED = {"critic": "never", "ledger": "observe", "tank_start_j": TANK_J}
_FILTERED = {**_UNFILTERED, "ledger": "enforce"}

PASSIVE = SafetyGrid(
    "passive",
    "What do energy constraints in training and the passivity filter do, alone and together?",
    "maze",
    (
        Arm("agnostic", "trained without a budget, no filter", "agnostic", _UNFILTERED, critic=False),
        Arm("aware", "trained within the budget, no filter", "aware", _UNFILTERED, critic=False),
        Arm("filtered", "trained without a budget, filter on", "agnostic", _FILTERED, critic=False),
        Arm("aware-filtered", "trained within the budget, filter on", "aware", _FILTERED, critic=False),
    ),
    policies={
        "agnostic": {**_LEARN, "agent_config": {}},
        "aware": {**_LEARN, "agent_config": _AWARE},
    },
)

LAYERS = SafetyGrid(
    "layers",
    "What are all layers together worth against none?",
    "maze",
    (
        Arm("maze-all", "scripted explorer, all layers"),
        Arm("maze-none", "scripted explorer, no layer", safety_config=OFF, critic=False),
        Arm("peg-all", "scripted operator, all layers that it has: no critic", critic=False, task="peg_insertion"),
        Arm("peg-none", "scripted operator, no layer", safety_config=OFF, critic=False, task="peg_insertion"),
    ),
)

SAFETY_GRIDS = {grid.name: grid for grid in (BRESA, PASSIVE, LAYERS)}
