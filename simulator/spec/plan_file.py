"""plan.json: the one file that passes from planner to simulator, exporters, runtime and compare."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field

from simulator.spec.base import Spec
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import Scenario
from simulator.spec.version import __version__


def inputs_sha256(scenario: Scenario) -> str:
    """Return the hash of a resolved scenario, as a plan file holds it."""
    return sha256_of_json(scenario.model_dump(mode="json"))


def sha256_of_json(value: Any) -> str:
    """Return the hash of a value of JSON, over its canonical text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Provenance(Spec):
    """Who wrote the file and from what."""

    armillary_version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.+!-]{1,40}$")]
    """It stands in the comments of exported scripts, so it is held to the letters of a version."""
    seed: int
    inputs_sha256: str
    """Hash of the resolved scenario."""

    @classmethod
    def of(cls, scenario: Scenario) -> Provenance:
        """Return what this version writes of the answer to a scenario."""
        return cls(
            armillary_version=__version__,
            seed=scenario.seed,
            inputs_sha256=inputs_sha256(scenario),
        )


class RankedPlan(Spec):
    """One line of the answer."""

    rank: int
    plan: PlanSpec
    prediction: Prediction
    loses_to: str = ""
    """How much longer it takes than the best plan, and why; empty for the best."""


class PlanFile(Spec):
    """A chosen plan with everything needed to understand and run it.

    `plan` and `prediction` are the chosen ones (rank 1 unless the user took another);
    `alternatives` are the ranked finalists, the chosen one included.
    """

    kind: Literal["armillary-plan"] = "armillary-plan"
    version: Literal[1] = 1
    scenario: Scenario
    plan: PlanSpec
    prediction: Prediction
    alternatives: tuple[RankedPlan, ...] = ()
    provenance: Provenance

    def asked(self, scenario: Scenario) -> PlanFile:
        """Return the same plan as the answer to a scenario that was changed on purpose."""
        changed = {"inputs_sha256": inputs_sha256(scenario)}
        provenance = self.provenance.model_copy(update=changed)
        return self.model_copy(update={"scenario": scenario, "provenance": provenance})

    def ranked(self, rank: int, *, where: str | None = None) -> RankedPlan:
        """Return the plan of that rank; in a file that ranks none, the chosen one is plan 1.

        Raises InputError for a rank that is not there.
        """
        plans = self.alternatives or (
            RankedPlan(rank=1, plan=self.plan, prediction=self.prediction),
        )
        for each in plans:
            if each.rank == rank:
                return each
        raise InputError(
            f"there is no plan {rank}",
            where=where,
            fix=f"it ranks plans 1 to {len(plans)}; `armillary plan --top N` ranks more",
        )

    @property
    def chosen_rank(self) -> int | None:
        """Rank of the chosen plan; None where it was not among the ranked ones."""
        if not self.alternatives:
            return 1
        return next((each.rank for each in self.alternatives if each.plan == self.plan), None)

    def choosing(self, rank: int | None, *, where: str | None = None) -> PlanFile:
        """Return the same file with the plan of that rank as the chosen one; None changes nothing.

        Raises InputError for a rank that is not there.
        """
        if rank is None:
            return self
        ranked = self.ranked(rank, where=where)
        change = {"plan": ranked.plan, "prediction": ranked.prediction}
        return self.model_copy(update=change)
