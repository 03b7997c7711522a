"""The experiments that this project publishes: each a named grid of cells; a cell is one configuration, run with every seed."""

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


GRIDS = {
    grid.name: grid
    for grid in (
        Grid(
            "insertion",
            "Do RLPD and the fine-tuned diffusion policy reach 95 % within 6,000 steps, and what does the base policy give?",
            0.95,
            (
                Cell("rlpd", {"agent": "rlpd"}, "from scratch, half demonstrations in each batch"),
                Cell("residual", {"agent": "residual"}, "per-step correction of the frozen diffusion policy"),
                Cell("expo", {"agent": "expo"}, "edits and selection among base and edited actions"),
                Cell("dsrl", {"agent": "dsrl"}, "steers the noise of the diffusion policy"),
                Cell("residual-untrained", {"agent": "residual", "base": "untrained"}, "the same on a base that never saw data"),
            ),
            {"variant": "default", "steps": 6000, "eval_every": 500, "eval_episodes": 50, "final_episodes": 100},
        ),
        Grid(
            "tight",
            "What does it take to insert with 0.5 mm a side?",
            0.90,
            (
                Cell("rlpd", {"agent": "rlpd"}, "as published here"),
                Cell("no-history", {"agent": "rlpd", "history": 0}, "only the newest observation"),
                Cell("high-entropy", {"agent": "rlpd", **_agent(alpha0=0.1)}, "initial temperature 0.1"),
                Cell("no-demonstrations", {"agent": "rlpd", "data": None}, "from scratch without demonstrations"),
                Cell("ten-critics", {"agent": "rlpd", **_agent(critics=10)}, "ten critics, minimum of two"),
                Cell("residual", {"agent": "residual"}, "correction of the diffusion policy"),
            ),
            {"variant": "tight", "steps": 20000, "eval_every": 1000, "eval_episodes": 50, "final_episodes": 100},
        ),
        Grid(
            "smoke",
            "Does the machinery run? (one short cell, for continuous integration)",
            0.5,
            (Cell("rlpd", {"agent": "rlpd"}),),
            {"variant": "default", "steps": 1500, "eval_every": 500, "eval_episodes": 10, "final_episodes": 20},
        ),
    )
}
