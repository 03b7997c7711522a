"""Trains the safety critic on executed trajectories: twin risk networks, then or along with them the recovery policy.

    loss of the risk networks     sum over both of BCE(Q_i(s, a), y), y from robot_rl.safety_critic.targets
    loss of the recovery policy   mean over s of max(Q1, Q2)(s, pi_rec(s))              (as in DDPG)

Batches are stratified: a share of `positive_share` comes from samples shortly before a violation, and each sample is
weighted back to its true frequency, so that the risk stays a probability. Recovery RL: Thananjeyan et al. 2021.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from controllers.chain import ChainConfig
from data.errors import UserError
from robot_rl.safety_critic.networks import ActionScales, CriticNetworks
from robot_rl.safety_critic.targets import Table, discount_over, tabulate
from robot_rl.safety_critic.trajectories import F32, Trajectory
from safety.risk_memory import ACTION_FEATURES, BLIND_FEATURES, FEATURES, PLACE_FEATURES
from safety.risk_weights import CRITIC_WEIGHTS, layout_number

_UNLIMITED = 1e30
"""Edge of the training box of a feature that the networks do not see."""
_NEAR_S = 0.03
"""A third of the samples before violations come from the last so many seconds, where the risk rises fastest."""


@dataclass(frozen=True)
class CriticTrainingConfig:
    """How the critic is trained."""

    time_constant_s: float = 0.15
    """A violation this far ahead has the risk 1/e [s]."""
    return_s: float = 0.4
    """From here on a return is continued by the target networks' estimate [s]."""
    updates: int = 5000
    """Gradient steps of offline training."""
    batch_size: int = 512
    """Samples a gradient step."""
    learning_rate: float = 1e-3
    """Step size of Adam at the beginning; it falls to a hundredth along a cosine."""
    positive_share: float = 0.3
    """Share of a batch that comes from samples before a violation, in (0, 1)."""
    target_rate: float = 0.005
    """Share of the networks that the target networks take over in each update."""
    recovery_every: int = 4
    """Updates of the risk networks for each update of the recovery policy, >= 1."""
    weight_decay: float = 1e-5
    """Decoupled weight decay."""
    noise_share: float = 0.15
    """Share of the samples that are disturbed as a real sensor would be."""
    noise: float = 0.05
    """Stationary standard deviation of that noise (an Ornstein-Uhlenbeck process) as a share of a feature's range."""
    wrench_bias_n: float = 2.0
    """Largest bias of the disturbed force per axis [N]; of the moment a tenth of it [Nm]."""
    delay_s: float = 0.02
    """Largest delay of the disturbed state against the action [s]."""
    box_share: float = 0.999
    """Share of the training samples inside the training box."""
    seed: int = 0
    """Seed of networks and batches."""

    def __post_init__(self) -> None:
        for allowed, names, fits in _ALLOWED:
            for name in names:
                if not fits(value := getattr(self, name)):
                    raise UserError(f"critic_config.{name}={value} does not fit: expected {allowed}")


_ALLOWED: tuple[tuple[str, tuple[str, ...], Callable[[float], bool]], ...] = (
    ("at least 1", ("updates", "recovery_every"), lambda value: value >= 1),
    ("at least 3, one sample of each stratum", ("batch_size",), lambda value: value >= 3),
    ("at least 0", ("seed",), lambda value: value >= 0),
    (
        "a finite number above 0",
        ("time_constant_s", "return_s", "learning_rate"),
        lambda value: 0.0 < value < math.inf,
    ),
    (
        "a finite number of at least 0",
        ("weight_decay", "noise", "wrench_bias_n", "delay_s"),
        lambda value: 0.0 <= value < math.inf,
    ),
    ("a share in (0, 1)", ("positive_share",), lambda value: 0.0 < value < 1.0),
    ("a share in (0, 1]", ("target_rate", "box_share"), lambda value: 0.0 < value <= 1.0),
    ("a share in [0, 1]", ("noise_share",), lambda value: 0.0 <= value <= 1.0),
)


def training_box(features: F32, share: float) -> tuple[F32, F32]:
    """Returns the box (low, high) that holds `share` of the samples, with edges in proportion to each feature's spread.

    Each feature's interval between its quantiles (1 - share) / 2 and (1 + share) / 2 is widened about its middle by one
    common factor, the smallest that lets `share` of all samples lie inside in every feature at once, and by a tenth.
    """
    tail = 0.5 * (1.0 - share)
    low, high = np.quantile(features, [tail, 1.0 - tail], axis=0)
    middle, half = 0.5 * (low + high), np.maximum(0.5 * (high - low), 0.05)
    factor = 1.1 * max(1.0, float(np.quantile((np.abs(features - middle) / half).max(axis=1), share)))
    return (middle - factor * half).astype(np.float32), (middle + factor * half).astype(np.float32)


class CriticTrainer:
    """Networks, optimisers and data of one critic: `fit` trains, `add` and `fit` go on with new trajectories."""

    def __init__(self, config: CriticTrainingConfig, chain: ChainConfig) -> None:
        """chain: of the task that the critic is for."""
        self.config, self.limits, self.version = config, chain.critic, 0
        travel = chain.critic.to_record(chain.limiter, 1.0 / chain.rate_hz)["travel"]
        self.scales = ActionScales(np.array(chain.limiter.leash), travel)
        self.networks = CriticNetworks(config.seed, BLIND_FEATURES if chain.critic.surface is None else FEATURES)
        self.rng = np.random.default_rng(config.seed)
        self._trajectories: list[Trajectory] = []
        self._box: tuple[F32, F32] | None = None
        self._range = np.ones(self.networks.inputs, np.float32)

    def add(self, trajectories: Sequence[Trajectory]) -> None:
        """Takes trajectories that were really executed, recovery included."""
        self._trajectories += [one for one in trajectories if len(one.features) > 0]

    def warm_start(self, weights: NDArray[Any]) -> None:
        """Departs from the networks of a () CRITIC_WEIGHTS record; its standardisation stays, the box is made anew."""
        self.networks.load_weights(weights)
        self.version = int(weights["version"])
        self._standardised = True

    _standardised = False

    def fit(self, updates: int | None = None, report: Callable[[int, float], None] | None = None) -> float:
        """Trains on everything added so far; returns the seconds it took. report: called with (update, loss)."""
        started, config = time.monotonic(), self.config
        table = tabulate(self._trajectories, config.time_constant_s, config.return_s)
        self._measure(table.features)
        sampler = _Sampler(table, config, self.rng, self._delay_rows())
        count = updates or config.updates
        networks = self.networks
        critic = torch.optim.AdamW(networks.risk.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        actor = torch.optim.AdamW(networks.recovery.parameters(), config.learning_rate)
        schedules = [
            torch.optim.lr_scheduler.CosineAnnealingLR(part, count, 0.01 * config.learning_rate)
            for part in (critic, actor)
        ]
        for update in range(count):
            batch = sampler.draw(self._disturb)
            loss = self._improve_risk(critic, batch)
            if update % config.recovery_every == 0:
                self._improve_recovery(actor, batch.features)
            for schedule in schedules:
                schedule.step()
            if report is not None and (update + 1) % 100 == 0:
                report(update + 1, loss)
        self.version += 1
        return time.monotonic() - started

    def weights(self) -> NDArray[Any]:
        """Returns the critic as it is as a () CRITIC_WEIGHTS record. Raises RuntimeError before the first `fit`."""
        if self._box is None:
            raise RuntimeError("the critic was not trained yet: call fit first")
        record = np.zeros((), CRITIC_WEIGHTS)
        record["layout"], record["version"], record["has_recovery"] = layout_number(), self.version, 1
        for name in ("max_force_n", "max_moment_nm", "lookahead_s"):
            record[name] = getattr(self.limits, name)
        record["discount"] = discount_over(1.0, self.config.time_constant_s)
        record["surface"] = self.limits.surface or 0.0
        record["box_low"], record["box_high"] = -_UNLIMITED, _UNLIMITED
        seen = self.networks.inputs
        record["box_low"][:seen], record["box_high"][:seen] = self._box
        return self.networks.to_weights(record)

    def _measure(self, features: F32) -> None:
        """Standardisation (once: the networks are used to it), training box, and the range that noise scales with."""
        features = features[:, : self.networks.inputs]
        self._box = training_box(features, self.config.box_share)
        low, high = np.quantile(features, [0.01, 0.99], axis=0)
        self._range = (high - low).astype(np.float32)
        if not self._standardised:
            scale = np.maximum(features.std(axis=0), 0.05)
            self.networks.centre = torch.from_numpy(features.mean(axis=0).astype(np.float32))
            self.networks.inverse_scale = torch.from_numpy((1.0 / scale).astype(np.float32))
            self._standardised = True

    def _delay_rows(self) -> int:
        return round(self.config.delay_s / self._trajectories[0].interval_s)

    def _disturb(self, features: F32) -> None:
        """Adds noise and a bias of the wrench in place: what a row sees of an Ornstein-Uhlenbeck process is normal."""
        config, rng = self.config, self.rng
        chosen = rng.uniform(size=(len(features), 1)) < config.noise_share
        seen = features[:, : self.networks.inputs]
        noise = rng.standard_normal(seen.shape, np.float32) * self._range * config.noise
        noise[:, ACTION_FEATURES] = noise[:, PLACE_FEATURES] = 0.0  # the command is known, and so are the joints
        bias = rng.uniform(-1.0, 1.0, (len(features), 6)).astype(np.float32)
        bias[:, :3] *= config.wrench_bias_n / self.limits.max_force_n
        bias[:, 3:] *= 0.1 * config.wrench_bias_n / self.limits.max_moment_nm
        noise[:, :6] += bias
        seen += noise * chosen

    def _improve_risk(self, optimiser: torch.optim.Optimizer, batch: _Batch) -> float:
        networks = self.networks
        y = batch.known + batch.boot * networks.target_risk(batch.later)
        logits = networks.logits(batch.features)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y.expand_as(logits), reduction="none")
        mean = (loss * batch.weight).mean()
        optimiser.zero_grad(set_to_none=True)
        mean.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            for target, source in zip(networks.target.parameters(), networks.risk.parameters(), strict=True):
                target.lerp_(source, self.config.target_rate)
        return float(mean.detach())

    def _improve_recovery(self, optimiser: torch.optim.Optimizer, features: Tensor) -> None:
        networks = self.networks
        risk = networks.logits(networks.recovering(features, self.scales)).amax(0)
        optimiser.zero_grad(set_to_none=True)
        torch.sigmoid(risk).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()


@dataclass(frozen=True, eq=False)
class _Batch:
    features: Tensor
    later: Tensor
    known: Tensor
    boot: Tensor
    weight: Tensor


class _Sampler:
    """Draws stratified batches of a table."""

    def __init__(self, table: Table, config: CriticTrainingConfig, rng: np.random.Generator, delay_rows: int) -> None:
        self._table, self._config, self._rng, self._delay_rows = table, config, rng, delay_rows
        near = table.positive & (table.known > discount_over(_NEAR_S, config.time_constant_s))
        strata = (near, table.positive & ~near, ~table.positive)
        shares = (config.positive_share / 3.0, config.positive_share / 1.5, 1.0 - config.positive_share)
        found = [(np.flatnonzero(table.usable & chosen), share) for chosen, share in zip(strata, shares, strict=True)]
        found = [(rows, share) for rows, share in found if len(rows)]
        if not found:
            raise ValueError("expected samples with a known return, got none: the trajectories are too short")
        rows_in_all, share_in_all = sum(len(rows) for rows, _ in found), sum(share for _, share in found)
        self._groups = [(rows, max(1, round(share / share_in_all * config.batch_size))) for rows, share in found]
        drawn = sum(count for _, count in self._groups)
        weights = [np.full(count, len(rows) / rows_in_all * drawn / count) for rows, count in self._groups]
        self._weight = torch.from_numpy(np.concatenate(weights).astype(np.float32))

    def draw(self, disturb: Callable[[F32], None]) -> _Batch:
        """Returns one batch; `disturb` changes its features in place. The state part may be a little older."""
        table, rng = self._table, self._rng
        rows = np.concatenate([group[rng.integers(len(group), size=count)] for group, count in self._groups])
        features = table.features[rows]
        if self._delay_rows > 0:
            late = rng.integers(self._delay_rows + 1, size=len(rows))
            late *= rng.uniform(size=len(rows)) < self._config.noise_share
            older = np.maximum(rows - late, table.first[rows])
            for part in (slice(ACTION_FEATURES.start), PLACE_FEATURES):
                features[:, part] = table.features[older, part]
        disturb(features)
        known, boot = table.known[rows].astype(np.float32), table.boot[rows].astype(np.float32)
        later = table.features[table.later[rows]]
        state, ahead, fixed, factor = (torch.from_numpy(array) for array in (features, later, known, boot))
        return _Batch(state, ahead, fixed, factor, self._weight)
