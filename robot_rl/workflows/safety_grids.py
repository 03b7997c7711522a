"""The experiments on the safety layers: which arms are compared on which task, driven by whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from robot_rl.workflows.safety_claims import Claim

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
    teleport: bool = True
    """Put the tool at the start instead of driving there, which is quicker: the arm then begins softly, at rest."""


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
    fairness: tuple[str, ...] = ()
    """What is compared, and what is not fair to whom: a sentence or two each, for the table."""
    claims: tuple[Claim, ...] = ()
    """What the papers, or we, say of it."""


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
    fairness=(
        "All cells of a seed have the same mazes, critic, threshold and recovery; they differ in when the critic is "
        "asked, and how long a decision lasts. Cells of different periods are different tasks: compare within one.",
        "The threshold was chosen by the recall of a critic that is asked at every sample. That suits the cells that "
        "ask it in every tick; the decision rate might do better with a lower one.",
        "The look-ahead at that threshold (see critic.md) is shorter than a decision of 0.5 s: what is asked only at "
        "its beginning cannot foresee what happens late in it, however good it is. That is to the disadvantage of the "
        "decision rate, and it is the claim under test.",
        "The critic learned from decisions of 0.1 s and 0.5 s, its gate measured it at 0.1 s only; none of 0.3 s were "
        "ever trained on, which is to the disadvantage of both cells that ask it there.",
        "Episodes begin with a teleporting reset, the arm soft and at rest, unlike those of `collect`.",
        "Calibration and comparison draw their mazes from the same held-out range. Nothing is fitted there: networks, "
        "scale and threshold come from training mazes.",
    ),
    claims=tuple(
        Claim(
            f"decisions of {period_s:g} s: asked in every tick, a critic leaves at most a fifth of the violations "
            "of one that is asked once a decision, at no lower success (Bresa)",
            f"control-{period_s:g}s",
            f"decision-{period_s:g}s",
        )
        for period_s in (0.1, 0.3, 0.5)
    ),
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


def _fuller_tanks() -> tuple[Arm, ...]:
    """The filter again, with tanks that hold more: what its price in success depends on."""
    return tuple(
        Arm(
            f"{name}-{tank_j:g}j",
            f"{text}, a tank of {tank_j:g} J",
            policy,
            {**_FILTERED, "tank_start_j": tank_j},
            critic=False,
        )
        for tank_j in (1.0, 2.0, 4.0)
        for name, text, policy in (
            ("filtered", "trained without a budget, filter on", "agnostic"),
            ("aware-filtered", "trained within the budget, filter on", "aware"),
        )
    )


PASSIVE = SafetyGrid(
    "passive",
    "What do energy constraints in training and the passivity filter do, alone and together?",
    "maze",
    (
        Arm("agnostic", "trained without a budget, no filter", "agnostic", _UNFILTERED, critic=False),
        Arm("aware", "trained within the budget, no filter", "aware", _UNFILTERED, critic=False),
        Arm("filtered", "trained without a budget, filter on", "agnostic", _FILTERED, critic=False),
        Arm("aware-filtered", "trained within the budget, filter on", "aware", _FILTERED, critic=False),
        Arm(
            "agnostic-1j",
            "trained without a budget, no filter, a tank of 1 J",
            "agnostic",
            {**_UNFILTERED, "tank_start_j": 1.0},
            critic=False,
        ),
        *_fuller_tanks(),
    ),
    policies={
        "agnostic": {**_LEARN, "agent_config": {}},
        "aware": {**_LEARN, "agent_config": _AWARE},
    },
    fairness=(
        "All cells of a seed have the same mazes and demonstrations and no critic. Filtered and unfiltered cells run "
        "the same policy. Episodes begin with a teleporting reset, the arm soft and at rest, unlike those of training.",
        f"A tank of {TANK_J:g} J is new to the policies of all cells; the filter is new to those of the filtered "
        "cells, which is to their disadvantage. It is just enough for a frugal policy: another tank would move all "
        "rates of energy violations.",
        f"The budget in training, {ENERGY_BUDGET_J:g} J, counts what leaves the tank; an energy violation counts what "
        "is left of tank and spring together, energy that flowed back included.",
    ),
    claims=(
        Claim(
            "training within an energy budget avoids most energy violations and costs little success",
            *("aware", "agnostic", "energy_violation", 0.2, 5.0),
        ),
        Claim(
            "the filter alone ends energy violations and costs little success",
            *("filtered", "agnostic", "energy_violation", 0.0, 5.0),
        ),
        Claim(
            "training within a budget and the filter together end energy violations and cost little success "
            "(passive safe RL)",
            *("aware-filtered", "agnostic", "energy_violation", 0.0, 5.0),
        ),
        Claim(
            "with a tank of 1 J the filter alone ends energy violations and costs little success",
            *("filtered-1j", "agnostic-1j", "energy_violation", 0.0, 5.0),
        ),
    ),
)

_PEG: dict[str, Any] = {"task": "peg_insertion", "teleport": False}

LAYERS = SafetyGrid(
    "layers",
    "What are all layers together worth against none?",
    "maze",
    (
        Arm("maze-all", "scripted explorer, all layers"),
        Arm("maze-none", "scripted explorer, no layer", safety_config=OFF, critic=False),
        Arm("peg-all", "scripted operator, all layers", **_PEG),
        Arm(
            "peg-wide",
            "scripted operator, all of these but the reference limiter and the critic, which goes with it",
            safety_config={"limiter": False},
            critic=False,
            **_PEG,
        ),
        Arm("peg-none", "scripted operator, no layer", safety_config=OFF, critic=False, **_PEG),
    ),
    fairness=(
        "The two cells of a task run the same episodes with the same operator, which knows nothing of the layers. How "
        "often the limits are violated without them is the operator's doing: another one would need them more or less.",
        "Without layers the torque limits stay, and the ledger keeps its books without limiting anything.",
        "The critics are those of the seed: the maze's as in bresa.md, at decisions of 0.1 s, the peg's as the quick "
        "start makes it.",
        "Calibration and comparison draw their mazes from the same held-out range. Nothing is fitted there.",
        "Episodes of the maze begin with a teleporting reset, the arm soft and at rest, unlike those of `collect`; "
        "those of the peg with the automatic one. The peg's operator was tuned with the reference limiter on.",
    ),
    claims=(
        Claim(
            "maze: all layers leave at most a fifth of the violations, at the same success",
            "maze-all",
            "maze-none",
            "violation",
            0.2,
            5.0,
        ),
        Claim(
            "peg insertion: all layers leave at most a fifth of the violations, at the same success",
            "peg-all",
            "peg-none",
            "violation",
            0.2,
            5.0,
        ),
    ),
)

SAFETY_GRIDS = {grid.name: grid for grid in (BRESA, PASSIVE, LAYERS)}
