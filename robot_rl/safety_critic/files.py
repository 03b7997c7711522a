"""A critic as one file: weights as arrays, and as JSON what they are for and what was measured of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from data.atomic import load_arrays, save_arrays_atomic
from data.errors import UserError
from data.plain_json import loads
from robot_rl.safety_critic.calibration import Calibration
from robot_rl.safety_critic.facts import brief, require_facts
from safety.risk_weights import CRITIC_WEIGHTS, digest, examine_weights, layout_number, require_acceptable

CRITIC_FILE = "critic.safetensors"
_SCALARS = {
    "version": int,
    "has_recovery": int,
    "max_force_n": float,
    "max_moment_nm": float,
    "lookahead_s": float,
    "discount": float,
}
_ARRAYS = tuple(name for name in CRITIC_WEIGHTS.names or () if CRITIC_WEIGHTS[name].shape)
_FACTS = {
    "layout": int,
    "sha256": str,
    "scalars": dict,
    "threshold": float,
    "task": str,
    "variant": str,
    "task_config": dict,
    "about": dict,
}


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

    @property
    def sha256(self) -> str:
        """Digest of the weights."""
        return digest(self.weights)

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
    arrays = {name: critic.weights[name] for name in _ARRAYS}
    facts = {
        "layout": int(critic.weights["layout"]),
        "sha256": critic.sha256,
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

    Raises UserError for a file that is no critic, is not whole or was changed, is of another version, holds what is not
    finite, or does not pass.
    """
    arrays, metadata = load_arrays(path)
    if "critic" not in metadata:
        raise UserError(f"{path} holds no safety critic; give the {CRITIC_FILE} of robot-rl safety train")
    facts = _facts(metadata["critic"], path)
    weights = _weights(arrays, facts, path)
    require_acceptable(examine_weights(weights, 0))
    calibration = None if facts["calibration"] is None else Calibration(**facts["calibration"])
    names = ("threshold", "task", "variant", "task_config", "about")
    critic = Critic(weights, calibration=calibration, **{name: facts[name] for name in names})
    if not override_gate:
        critic.require_gate(str(path))
    return critic


def _facts(text: str, path: Path) -> dict[str, Any]:
    """What a file says of its critic. Raises UserError unless every fact is there, of its kind, and none besides."""
    facts = loads(text, f"what {path} says of itself")
    where = str(path)
    if isinstance(facts, dict) and isinstance(facts.get("layout"), int) and facts["layout"] != layout_number():
        raise UserError(f"{path} was made for other features or networks than this version has; train it anew")
    if isinstance(facts, dict) and "scalars" in facts and "sha256" not in facts:
        raise UserError(
            f"{path} has no checksum of its weights, so another version made it; make it again with robot-rl safety "
            "train and calibrate"
        )
    kinds = _FACTS | {"calibration": type(None) if _uncalibrated(facts) else dict}
    facts = require_facts(facts, where, kinds)
    require_facts(facts["scalars"], where, _SCALARS)
    if facts["calibration"] is not None:
        require_facts(facts["calibration"], where, get_type_hints(Calibration))
    if not 0.0 < facts["threshold"] < 1.0:
        raise UserError(f"{path} is malformed: expected a threshold in (0, 1), got {facts['threshold']}; make it again")
    return facts


def _uncalibrated(facts: Any) -> bool:
    return isinstance(facts, dict) and facts.get("calibration", 0) is None


def _weights(arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], path: Path) -> NDArray[Any]:
    """The () CRITIC_WEIGHTS record. Raises UserError unless the arrays are exactly its own, with their checksum."""
    if set(arrays) != set(_ARRAYS):
        name = min(set(arrays) ^ set(_ARRAYS))
        words = "has the unknown" if name in arrays else "lacks the"
        raise UserError(f"{path} is malformed: it {words} array {brief(name)}; make it again")
    weights = np.zeros((), CRITIC_WEIGHTS)
    weights["layout"] = facts["layout"]
    for name in _ARRAYS:
        wanted, array = weights[name], arrays[name]
        if (array.shape, array.dtype) != (wanted.shape, wanted.dtype):
            got, expected = (f"{one.dtype} of shape {one.shape}" for one in (array, wanted))
            raise UserError(f"{path} is malformed: expected {name} as {expected}, got {got}; make it again")
        weights[name] = array
    for name in _SCALARS:
        weights[name] = facts["scalars"][name]
    if digest(weights) != facts["sha256"]:
        raise UserError(f"{path}: its weights do not match their checksum; restore it from a copy, or make it again")
    return weights
