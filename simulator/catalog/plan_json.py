"""plan.json: written whole, read as untrusted input."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simulator.catalog.json_text import read_json
from simulator.catalog.mistakes import mistakes_of
from simulator.catalog.yaml_text import Document
from simulator.spec.errors import InputError, all_of
from simulator.spec.files import read_text, write_atomic
from simulator.spec.plan_file import PlanFile, sha256_of_json

LIMIT_BYTES = 16 * 1024 * 1024

_MAKE_ONE = "make one with `armillary plan SCENARIO`"


def read_plan_file(path: str | Path) -> PlanFile:
    """Return a plan file. Raises InputError for one that is foreign, truncated or of other version.

    Warns when its scenario no longer has the hash that it was written with. That is of the fields
    that stand in the file: those that this version adds by default change nothing.
    """
    where = str(path)
    text = read_text(path, limit_bytes=LIMIT_BYTES)
    value = read_json(text, where)
    _check_kind(value, where)
    try:
        plan_file = PlanFile.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise all_of(mistakes_of(error, PlanFile, Document(value, {}, where))) from None
    if sha256_of_json(value["scenario"]) == plan_file.provenance.inputs_sha256:
        return plan_file.asked(plan_file.scenario)
    logging.getLogger(__name__).warning(
        "%s: its scenario was changed after planning; plan and prediction may not belong to it",
        where,
    )
    return plan_file


def _check_kind(value: Any, where: str) -> None:
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind != "armillary-plan":
        raise InputError("not a plan file of armillary", where=where, fix=_MAKE_ONE)
    version, known = value.get("version"), PlanFile.model_fields["version"].default
    if version != known:
        raise InputError(
            f"plan file of version {version!r:.20}, and this armillary reads version {known}",
            where=where,
            fix=_MAKE_ONE,
        )


def write_plan_file(path: str | Path, plan_file: PlanFile) -> None:
    """Write a plan file; it appears whole or not at all."""
    write_atomic(path, plan_file.model_dump_json(indent=2) + "\n")
