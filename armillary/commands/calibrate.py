"""`armillary calibrate`: measures this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armillary import options

if TYPE_CHECKING:
    from simulator.spec.cluster import ClusterSpec

DEFAULT_PATH = Path("armillary-out/this-machine.yaml")


def command(
    output: Annotated[
        Path, options.made("Cluster file to write.", "--output", "-o")
    ] = DEFAULT_PATH,
    ranks: Annotated[
        str, typer.Option(help="Numbers of ranks to measure side by side, such as 1,2,4.")
    ] = "1,2,4",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer shapes and sizes.")] = False,
    name: Annotated[str, typer.Option(help="Name of the cluster.")] = "this-machine",
    as_json: options.AsJson = False,
) -> None:
    """Measure this machine: how fast it multiplies, moves memory and communicates.

    Writes a cluster file that --cluster and scenarios take in place of a catalog name.
    """
    from datetime import UTC, datetime

    from armillary.answers import CalibrateAnswer
    from armillary.screens.calibrate import calibrate_screen
    from runtime.calibrate import calibrate
    from runtime.launch import require_torch
    from simulator.catalog.cluster import write_cluster_file

    require_torch()
    cluster = calibrate(
        date=datetime.now(UTC).date().isoformat(),
        ranks=_counts(ranks),
        quick=quick,
        name=name,
        note=lambda line: print(line, file=sys.stderr),  # noqa: T201
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    write_cluster_file(output, cluster, comment=_comment(cluster))
    if as_json:
        answer = CalibrateAnswer(file=str(output), cluster=cluster)
        typer.echo(answer.model_dump_json(indent=2))
    else:
        typer.echo(calibrate_screen(cluster, output))


def _comment(cluster: ClusterSpec) -> str:
    calibration = cluster.calibration
    assert calibration is not None
    return (
        f"Measured by `armillary calibrate` on {calibration.date}, {calibration.tool_version}:\n"
        f"{cluster.device.vendor}, {cluster.host.n_cores} cores. SI units."
    )


def _counts(text: str) -> tuple[int, ...]:
    from simulator.spec.errors import InputError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"{text!r:.40} is not a list of numbers", where="--ranks", fix="write 1,2,4"
        ) from None
