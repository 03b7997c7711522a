"""EXPO (2025): small edits of base actions, and the best of base and edited candidates by the critics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from controllers.types import Source
from robot_rl.agents.base import Proposal, tensors
from robot_rl.agents.on_base import EditAgent, EditConfig, edit_view
from robot_rl.learning.config import SacConfig, check
from robot_rl.learning.replay import Batch
from robot_rl.learning.sac import ActorView, place
from robot_rl.learning.states import State, copy_checked

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class ExpoConfig(EditConfig):
    """Settings of EXPO."""

    candidates: int = 4
    """Number N of base actions computed for each observation, at least 1."""
    edits: int = 4
    """How many of them are also edited, 0..candidates; 0 leaves the choice among base actions."""
    edit_data: bool = False
    """Whether edits are trained on the batch's executed actions (as published) instead of on base candidates."""

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.candidates
        check("edits", self.edits, 0 <= self.edits <= most, f"a number from 0 to candidates={most}")
        backup = self.entropy_backup
        check("entropy_backup", backup, not backup, "false: EXPO's target has no entropy term")


class ExpoAgent(EditAgent):
    """a* = argmax of min over M target critics among N base actions and their edits clip(a + scale * tanh(u)).

    The same choice is made when acting and in the critics' target, which has no entropy term. With an energy budget,
    what is compared is (Q' - lambda Q'_c) / (1 + lambda), see robot_rl.learning.cost.
    """

    config_class: ClassVar[type[SacConfig]] = ExpoConfig
    source: ClassVar[int] = Source.EDIT
    config: ExpoConfig

    def actor_view(self, batch: Batch) -> ActorView:
        """What the actor's update edits."""
        if self.config.edit_data:
            return edit_view(torch.from_numpy(batch.obs), torch.from_numpy(batch.action), self.config.scale)
        return super().actor_view(batch)

    def next_action(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Returns the best candidate at s'."""
        obs, base = torch.from_numpy(batch.next_obs), tensors(batch.next_extras)["base"]
        action, _, _ = self.choose(obs, base, self.sac.draw_members(), deterministic=False)
        return action, None

    def choose(
        self, obs: Tensor, base: Tensor, members: list[int] | None, deterministic: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the best candidates (B, A), their index (B,) and value (B,), of base (B, N, A) and their edits.

        `members` of the target critics judge (None: all). Deterministic edits are the actor's mean. Index < N is a base
        action.
        """
        edits = self.config.edits
        rows, _, width = base.shape
        options = base
        if edits:
            wide = obs[:, None].expand(rows, edits, obs.shape[-1]).reshape(rows * edits, -1)
            view = edit_view(wide, base[:, :edits].reshape(rows * edits, width), self.config.scale)
            if deterministic:
                output = torch.tanh(self.sac.average.forward(view.x)[0, :, :width])
            else:
                output = self.sac.policy(view.x).action
            options = torch.cat([base, place(output, view).view(rows, edits, width)], 1)
        wide = obs[:, None].expand(rows, options.shape[1], obs.shape[-1])
        value, index = self.sac.choice_value(wide, options, members).max(1)
        return options[torch.arange(rows), index], index, value

    def act(self, obs: F32, extras: Mapping[str, F32], deterministic: bool) -> Proposal:
        """Proposes the best candidate; the base's first during the warm-up."""
        obs = self.checked(obs)
        if self.warming_up:
            return self.act_base(extras, deterministic)
        # evaluation always asks the same critics, and draws nothing that learning would miss
        members = list(range(self.config.subset)) if deterministic else self.sac.draw_members(self.acting_rng)
        base = tensors(extras)["base"][None]
        action, index, _ = self.choose(torch.from_numpy(obs)[None], base, members, deterministic)
        source = self.source if int(index) >= self.config.candidates else Source.BASE
        return Proposal(action[0].numpy().copy(), source)

    def weights(self) -> State:
        """Adds the target critics, which choose, those of the cost among them."""
        targets = {"targets": self.sac.targets.flat.numpy().copy()}
        cost = {} if self.sac.cost is None else self.sac.cost.chooser_state()
        return super().weights() | targets | cost

    def load_weights(self, weights: State) -> None:
        """Takes what `weights` returned elsewhere."""
        super().load_weights(weights)
        copy_checked("targets", weights, self.sac.targets.flat)
        if self.sac.cost is not None:
            self.sac.cost.load_chooser(weights)


AGENT = ExpoAgent
