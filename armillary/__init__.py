"""The front door of Armillary: a training-cluster simulator and capacity planner.

Every verb of the command is a function. What one of them answers, the next one takes:

>>> import armillary
>>> scenario = armillary.scenario(
...     model="llama3-8b", cluster="h100-sxm:16", tokens="100B", overrides=["target=torchtitan"]
... )
>>> found = armillary.plan(scenario, top=3)  # or the path of a scenario file
>>> found.best.plan.label()
'... dp...'
>>> found.to_frame()["step_s"].is_monotonic_increasing
True
>>> future = armillary.simulate(found, 1, n_replicas=8)  # plan 1 of them, played by events
>>> future.prediction.step.step_s  # all quantities are SI, with the unit in the name
5...
>>> armillary.explain(found, 2, against=1).against.decisions
('...)
>>> armillary.export(found, 1, to="torchtitan", folder="out").start
'...'
>>> cases = armillary.whatif(found, ["cluster.nodes=2,4"])  # every combination of several
>>> cases.to_frame()["cluster.nodes"].tolist()
['2', '4']
>>> armillary.size(found, finish_within="20d").fewest.device
'h100-sxm-80gb'

What has no answer raises an error that says what would help:

>>> try:
...     armillary.plan(armillary.load_scenario(scenario, ["goal.finish_within=1h"]))
... except armillary.NoFeasiblePlan as error:
...     print(error)
no plan ...

`armillary.run(found, 1)` trains on this machine, and `armillary.compare` tells how wrong it was.
"""

from collections.abc import Sequence

from armillary._packages import refuse_shadowed_packages as _  # noqa: F401  # before theirs
from armillary.api import (
    calibrate,
    check,
    compare,
    explain,
    export,
    import_,
    init,
    load_scenario,
    plan,
    run,
    scenario,
    schema,
    simulate,
    size,
    validate,
    whatif,
)
from armillary.api import list_ as list  # noqa: A004  # each verb goes by its own name
from simulator.spec.errors import InputError, NoFeasiblePlan, RunError
from simulator.spec.version import __version__

__all__ = [
    "InputError",
    "NoFeasiblePlan",
    "RunError",
    "__version__",
    "calibrate",
    "check",
    "compare",
    "explain",
    "export",
    "import_",
    "init",
    "list",
    "load_scenario",
    "plan",
    "run",
    "scenario",
    "schema",
    "simulate",
    "size",
    "validate",
    "whatif",
]


def __dir__() -> Sequence[str]:
    return __all__
