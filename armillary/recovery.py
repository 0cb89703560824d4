"""How a run recovers: what its scenario asks for, with the planner handed to the supervisor."""

from __future__ import annotations

from planner.fewer_nodes import best_on_fewer_nodes
from runtime.supervise import Recovery, Replan
from simulator.campaign.decided import decided, fixed_recovery, fixed_spares
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import PlanLimits
from simulator.spec.target import OWN_TARGET


def recovery_of(plan_file: PlanFile, *, injects: bool, max_restarts: int) -> Recovery:
    """Return the recovery of a plan's scenario; `injects` its recorded outages into the run.

    Raises InputError for one that the runtime cannot do.
    """
    if not injects:
        return Recovery(max_restarts=max_restarts)
    reliability = decided(plan_file.scenario, plan_file.plan).reliability
    recovery = fixed_recovery(reliability)
    if recovery == "isolate":
        raise InputError(
            "a run cannot go on without a replica group",
            where="reliability.recovery",
            fix="take wait, shrink or replan",
        )
    replans: dict[str, Replan] = {"shrink": shrunk, "replan": replanned}
    return Recovery(
        outages=reliability.replay,
        max_restarts=max_restarts,
        n_spares=fixed_spares(reliability),
        replan=replans.get(recovery),
    )


def shrunk(plan_file: PlanFile, n_nodes: int) -> PlanFile | None:
    """Return the same plan with fewer data-parallel copies; None where that does not fit."""
    return _best(plan_file, n_nodes, _mesh_limits(plan_file.scenario.limits, plan_file.plan))


def replanned(plan_file: PlanFile, n_nodes: int) -> PlanFile | None:
    """Return the best plan on so many nodes; None where none fits."""
    return _best(plan_file, n_nodes, plan_file.scenario.limits)


def _mesh_limits(limits: PlanLimits, plan: PlanSpec) -> PlanLimits:
    kept = {"tp": plan.tp, "pp": plan.pp, "cp": plan.cp, "ep": plan.ep}
    return limits.model_copy(update=kept)


def _best(plan_file: PlanFile, n_nodes: int, limits: PlanLimits) -> PlanFile | None:
    ours = {"limits": limits, "target": OWN_TARGET}
    found = best_on_fewer_nodes(plan_file.scenario.model_copy(update=ours), n_nodes)
    return None if found is None else found.plan_file()
