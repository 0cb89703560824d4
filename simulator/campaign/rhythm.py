"""When a campaign saves: interval, stall and safe point of every checkpoint tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.campaign.checkpoint_size import transfer_s
from simulator.campaign.save_intervals import TierMoves, intervals_s
from simulator.campaign.terms import CampaignTerms, TierTerms
from simulator.cost.plan_table import FloatArray
from simulator.spec.checkpoint_use import CheckpointUse
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import StepPrediction
from simulator.spec.reliability import CheckpointTier
from simulator.spec.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRhythm:
    """When n campaigns save to one tier and need it; all arrays have shape (n,)."""

    interval_s: FloatArray
    """Work between checkpoints."""
    stall_s: FloatArray
    """Standstill of training for one checkpoint."""
    persist_s: FloatArray
    """From the stall until the checkpoint is safe."""
    load_s: FloatArray
    """To read it at a restart; 0 where the restart is one number that includes it."""
    mtbf_s: FloatArray
    """Mean time between the failures after which it is read; infinite where nothing fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """When n campaigns save, from the nearest tier to the safest."""

    tiers: tuple[TierRhythm, ...]

    @property
    def mtbf_s(self) -> FloatArray:
        """Mean time between failures of the job; infinite where nothing fails."""
        with np.errstate(divide="ignore"):
            return np.asarray(1 / sum(1 / tier.mtbf_s for tier in self.tiers))

    @property
    def stall_s(self) -> FloatArray:
        """Standstill for a checkpoint in all tiers."""
        return np.asarray(sum(tier.stall_s for tier in self.tiers))


@dataclass(frozen=True, slots=True)
class _Savers:
    """n plans as far as checkpoints go; all arrays have shape (n,)."""

    ranks: FloatArray
    step_s: FloatArray
    held_bytes: FloatArray
    copies: FloatArray
    wanted_s: FloatArray


def checkpoint_rhythm(
    terms: CampaignTerms,
    *,
    n_ranks: npt.ArrayLike,
    step_s: npt.ArrayLike,
    state_bytes: float,
    held_bytes: npt.ArrayLike,
    n_copies: npt.ArrayLike = 1,
    interval_s: npt.ArrayLike = 0.0,
) -> Rhythm:
    """Return when n campaigns save: after `interval_s` of work, or at the optimum where it is 0.

    `state_bytes` is the whole checkpoint; `held_bytes` the weights and optimizer state of the
    fullest rank, which are copied to the host while training stands still; `n_copies` the
    data-parallel copies that may each read it. `interval_s` is of the safest tier.
    """
    values = (n_ranks, step_s, held_bytes, n_copies, interval_s)
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(value, float)) for value in values))
    savers = _Savers(*columns)
    moves = [_tier_moves(terms, tier, savers, state_bytes) for tier in terms.tiers]
    intervals = intervals_s(moves, savers.step_s, terms.n_steps * savers.step_s)
    return Rhythm(
        tiers=tuple(
            TierRhythm(
                interval_s=interval_s,
                stall_s=tier.stall_s + np.maximum(0.0, tier.persist_s - interval_s),
                persist_s=tier.persist_s,
                load_s=tier.load_s,
                mtbf_s=tier.mtbf_s,
            )
            for tier, interval_s in zip(moves, intervals, strict=True)
        )
    )


def plan_rhythm(
    terms: CampaignTerms, plan: PlanSpec, step: StepPrediction, *, state_bytes: float
) -> Rhythm:
    """Return when the campaign of one plan saves, as `checkpoint_rhythm` does."""
    return checkpoint_rhythm(
        terms,
        n_ranks=plan.n_ranks,
        step_s=step.fed_step_s,
        state_bytes=state_bytes,
        held_bytes=step.held_bytes,
        n_copies=plan.dp,
        interval_s=plan.checkpoint_interval_s,
    )


def _tier_moves(
    terms: CampaignTerms, tier: TierTerms, savers: _Savers, state_bytes: float
) -> TierMoves:
    """Return how long the plans take to save to one tier and to read it.

    Only the nearest tier stops training to copy: a save to another starts from that copy. The write
    follows behind, and a save that finds the one before it unwritten waits for it.
    """
    spec, step_s = tier.spec, savers.step_s
    n_nodes = np.ceil(savers.ranks / terms.devices_per_node)
    with np.errstate(divide="ignore"):
        mtbf_s = 1 / tier.failures.of_job(savers.ranks)
    write_rate = spec.write_bandwidth_bytes_per_s
    read_rate = spec.read_bandwidth_bytes_per_s or write_rate
    nic = terms.node_write_bytes_per_s
    written_s = transfer_s(state_bytes, n_nodes, nic, write_rate, shared=spec.shared)
    read_bytes = state_bytes * (savers.copies if spec.replicated_reads else np.ones_like(step_s))
    load_s = transfer_s(read_bytes, n_nodes, nic, read_rate, shared=spec.shared)
    stall_s = written_s if spec.blocking else np.zeros_like(step_s)
    if tier is terms.tiers[0]:
        stall_s = stall_s + _copy_s(terms, savers)
    asked_s = np.full_like(step_s, spec.interval_s)
    if tier is terms.tiers[-1]:
        asked_s = np.where(savers.wanted_s > 0, savers.wanted_s, asked_s)
    return TierMoves(
        blocking=spec.blocking,
        stall_s=stall_s,
        persist_s=np.zeros_like(step_s) if spec.blocking else written_s,
        load_s=load_s if terms.loads_at_restart else np.zeros_like(step_s),
        mtbf_s=mtbf_s,
        asked_s=asked_s,
    )


def _copy_s(terms: CampaignTerms, savers: _Savers) -> FloatArray:
    """Time to copy the state of the fullest rank to its host."""
    if terms.checkpoint_stall_s is not None:
        return np.full_like(savers.step_s, terms.checkpoint_stall_s)
    return savers.held_bytes / terms.device_copy_bytes_per_s


def checkpoint_uses(terms: CampaignTerms, rhythm: Rhythm) -> tuple[CheckpointUse, ...]:
    """Return what the first of n campaigns does with every tier."""
    return tuple(
        CheckpointUse(
            name=tier.spec.name,
            survives=tier.spec.survives,
            interval_s=float(saved.interval_s[0]),
            stall_s=float(saved.stall_s[0]),
            persist_s=float(saved.persist_s[0]),
            load_s=float(saved.load_s[0]),
            read_every_s=float(saved.mtbf_s[0]) if np.isfinite(saved.mtbf_s[0]) else None,
        )
        for tier, saved in zip(terms.tiers, rhythm.tiers, strict=True)
    )


def require_room(tiers: Sequence[CheckpointTier], state_bytes: float, n_nodes: int) -> None:
    """Raise InputError where a tier cannot hold the checkpoints that it is to keep."""
    for position, spec in enumerate(tiers):
        keep = spec.keep or 1
        held = state_bytes / (1 if spec.shared else n_nodes) * keep
        if spec.capacity_bytes is not None and held > spec.capacity_bytes:
            place = "in all" if spec.shared else "on every node"
            raise InputError(
                f"{keep} checkpoint(s) take {format_bytes(held)} {place}; tier {spec.name!r} has "
                f"{format_bytes(spec.capacity_bytes)}",
                where=f"reliability.checkpoint_tiers.{position}.capacity_bytes",
                fix="keep fewer or give it more room",
            )
