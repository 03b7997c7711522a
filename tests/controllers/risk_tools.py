"""A critic that says what a test wants: real weights in the chain whose networks answer the same for every state."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.safety.critic_tools import constant_weights


def tell(chain: Any, risk: float, recovery: tuple[float, ...] | None = None) -> None:
    """Lets the critic of a Chain say `risk` from the next tick on; NaN: its networks are broken.

    recovery: outputs of its recovery policy before they are squashed, offset along the tool's axes and stiffness.
    """
    weights = constant_weights(float(np.clip(np.nan_to_num(risk), 1e-6, 1.0 - 1e-6)))
    weights["box_low"], weights["box_high"] = -1e6, 1e6
    if np.isnan(risk):
        weights["risk_bias"] = np.nan
    weights["has_recovery"], weights["recovery_head"] = recovery is not None, 0.0
    weights["recovery_bias"] = 0.0 if recovery is None else recovery
    chain.config_record["critic"]["weights"] = weights
