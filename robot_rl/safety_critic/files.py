"""A critic as one file: weights as arrays, and as JSON what they are for and what was measured of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.atomic import load_arrays, save_arrays_atomic
from data.errors import UserError
from robot_rl.safety_critic.calibration import Calibration
from safety.risk_weights import CRITIC_WEIGHTS, examine_weights, layout_number, require_acceptable

CRITIC_FILE = "critic.safetensors"
_SCALARS = ("version", "has_recovery", "max_force_n", "max_moment_nm", "lookahead_s", "discount")


@dataclass(eq=False)
class Critic:
    """Weights with their story."""

    weights: NDArray[Any]
    """() CRITIC_WEIGHTS record."""
    threshold: float
    """Risk above which the reflex shall act, chosen on episodes that the networks did not learn from."""
    task: str
    variant: str = "default"
    task_config: dict[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    """What was measured on held-out episodes; None before that."""
    about: dict[str, Any] = field(default_factory=dict)
    """Training settings and versions, for the record."""

    def require_gate(self, where: str) -> None:
        """Raises UserError unless the critic was calibrated and passes the gate; where: what to call it."""
        if self.calibration is None:
            raise UserError(
                f"{where} was not calibrated: run robot-rl safety calibrate critic={where} data=<held-out episodes>"
            )
        found = self.calibration.shortcomings()
        if found:
            raise UserError(
                f"{where} does not pass its calibration gate: {', '.join(found)}; collect more and train it"
            )


def save_critic(path: Path, critic: Critic) -> None:
    """Writes a critic, whole or not at all."""
    arrays = {name: critic.weights[name] for name in CRITIC_WEIGHTS.names or () if critic.weights[name].ndim}
    facts = {
        "layout": int(critic.weights["layout"]),
        "scalars": {name: critic.weights[name].item() for name in _SCALARS},
        "threshold": critic.threshold,
        "task": critic.task,
        "variant": critic.variant,
        "task_config": critic.task_config,
        "calibration": None if critic.calibration is None else critic.calibration.as_dict(),
        "about": critic.about,
    }
    save_arrays_atomic(path, arrays, {"critic": json.dumps(facts)})


def load_critic(path: Path, override_gate: bool = False) -> Critic:
    """Reads a critic. override_gate: take one that was not calibrated or does not pass, for experiments only.

    Raises UserError for a file that is no critic, is of another version, holds what is not finite, or does not pass.
    """
    arrays, metadata = load_arrays(path)
    if "critic" not in metadata:
        raise UserError(f"{path} holds no safety critic; give the {CRITIC_FILE} of robot-rl safety train")
    facts = json.loads(metadata["critic"])
    if facts["layout"] != layout_number():
        raise UserError(f"{path} was made for other features or networks than this version has; train it anew")
    weights = np.zeros((), CRITIC_WEIGHTS)
    weights["layout"] = facts["layout"]
    for name, value in {**arrays, **facts["scalars"]}.items():
        weights[name] = value
    require_acceptable(examine_weights(weights, 0))
    measured = facts["calibration"]
    calibration = None if measured is None else Calibration(**measured)
    names = ("threshold", "task", "variant", "task_config", "about")
    critic = Critic(weights, calibration=calibration, **{name: facts[name] for name in names})
    if not override_gate:
        critic.require_gate(str(path))
    return critic
