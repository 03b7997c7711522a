"""RLPD (Ball et al., 2023): soft actor-critic from scratch on half online data, half demonstrations."""

from __future__ import annotations

from robot_rl.agents.base import SacAgent


class RlpdAgent(SacAgent):
    """Needs no base policy: the shared agent as it stands."""


AGENT = RlpdAgent
