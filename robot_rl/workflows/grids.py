"""The experiments that this project publishes: named grids of cells, each one configuration run with every seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One configuration of fine-tuning; `settings` are fields of FinetuneConfig."""

    name: str
    settings: dict[str, Any]
    text: str = ""


@dataclass(frozen=True)
class Grid:
    """Cells that are compared, and the success rate that counts as solved."""

    name: str
    question: str
    target: float
    cells: tuple[Cell, ...]
    common: dict[str, Any] = field(default_factory=dict)
    demonstrations: int = 20


def _agent(**options: Any) -> dict[str, Any]:
    return {"agent_config": options}


_INSERTION = Grid(
    "insertion",
    "Do RLPD and the fine-tuned diffusion policy reach 95 % within 6,000 steps, and what does the base policy give?",
    0.95,
    (
        Cell("rlpd", {"agent": "rlpd"}, "from scratch, half demonstrations in each batch"),
        Cell("residual", {"agent": "residual"}, "per-step correction of the frozen diffusion policy"),
        Cell("rlpd-utd-2", {"agent": "rlpd", **_agent(utd=2)}, "two critic updates per step instead of four"),
        Cell("expo", {"agent": "expo"}, "edits, and the best of base and edited actions"),
        Cell("dsrl", {"agent": "dsrl"}, "steers the noise of the diffusion policy"),
        Cell("residual-untrained", {"agent": "residual", "base": "untrained"}, "a base after one gradient step"),
    ),
    {"variant": "default", "steps": 6000, "eval_every": 500, "eval_episodes": 30, "final_episodes": 100},
)

_NO_TILT: dict[str, Any] = {"agent": "rlpd", "task_config": {"tilt": False}, **_agent(target_entropy=-6.0)}

_TIGHT = Grid(
    "tight",
    "What does it take to insert with 0.5 mm a side?",
    0.90,
    (
        Cell("rlpd", {"agent": "rlpd", "steps": 12_000}, "all of it: tilt, demonstrations, little exploration noise"),
        Cell("residual", {"agent": "residual", "steps": 12_000}, "correction of the diffusion policy"),
        Cell("no-tilt", _NO_TILT, "no turns about x and y, an operator who leans; the same entropy a dimension"),
        Cell("history-2", {"agent": "rlpd", "history": 2}, "the two observations before the newest as well"),
        Cell("entropy", {"agent": "rlpd", **_agent(target_entropy=-3.0, alpha0=0.01)}, "exploration noise as usual"),
        Cell("no-imitation", {"agent": "rlpd", **_agent(bc_weight=0.0)}, "no imitation term in the actor's loss"),
        Cell("no-demonstrations", {"agent": "rlpd", "data": None}, "nothing to start from"),
        Cell("ten-critics", {"agent": "rlpd", **_agent(critics=10)}, "minimum of two out of ten critics"),
    ),
    {"variant": "tight", "steps": 8000, "eval_every": 1000, "eval_episodes": 30, "final_episodes": 100},
)

_SMOKE = Grid(
    "smoke",
    "Does the machinery run?",
    0.5,
    (Cell("rlpd", {"agent": "rlpd"}, "one short run"),),
    {"variant": "default", "steps": 2500, "eval_every": 500, "eval_episodes": 10, "final_episodes": 20},
)

GRIDS = {grid.name: grid for grid in (_INSERTION, _TIGHT, _SMOKE)}
