"""`armillary compare`: predicted beside measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armillary import options

if TYPE_CHECKING:
    from runtime.compare import Comparison


def command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run.")],
    update: Annotated[
        Path | None,
        options.made(
            "Cluster file of `armillary calibrate` that is to learn from this run: its steps are "
            "scaled by the geometric mean of measured over predicted of all such runs."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Set predicted beside measured, part by part, and say what to change."""
    from armillary.screens.compare import compare_screen
    from runtime.compare import compare

    comparison = compare(run_dir)
    if update is not None:
        _update(update, run_dir, comparison)
    typer.echo(comparison.model_dump_json(indent=2) if as_json else compare_screen(comparison))


def _update(path: Path, run_dir: Path, comparison: Comparison) -> None:
    """Let a cluster file learn from a run, and say what it says now."""
    from runtime.calibrate.update import learned
    from simulator.catalog.cluster import read_cluster_file, write_cluster_file

    before = read_cluster_file(path)
    cluster = learned(before, run_dir, comparison, where=str(path))
    if cluster == before:
        typer.echo(f"unchanged: {path} has learned from this run before", err=True)
        return
    calibration = cluster.calibration
    assert calibration is not None
    comment = (
        f"Measured by `armillary calibrate` on {calibration.date}, {calibration.tool_version}, and "
        f"scaled by {calibration.step_scale_runs} runs."
    )
    write_cluster_file(path, cluster, comment=comment)
    typer.echo(
        f"updated: {path}: steps take {calibration.step_scale:.3g} times what its kernels say "
        f"(runs: {calibration.step_scale_runs})",
        err=True,
    )
