"""Our tables against the order in which torch.distributed.pipelining's own classes work."""

from types import SimpleNamespace
from typing import Any

import pytest
from torch.distributed.pipelining import schedules as torch_schedules

from simulator.schedule import Schedule, make_schedule

SINGLE: dict[str, Any] = {
    "gpipe": torch_schedules.ScheduleGPipe,
    "1f1b": torch_schedules.Schedule1F1B,
}


class RecordingStage:
    """Stands in for a pipeline stage and notes what it is told to do.

    `Schedule1F1B._get_pipeline_order` is not asked: torch 2.13 numbers the last rank's forwards
    from 1 there. What it executes is right.
    """

    def __init__(self, rank: int) -> None:
        self.stage_index = rank
        self.cells: list[str] = []

    def no_transfers(self, _microbatch: int) -> list[object]:
        return []

    get_fwd_recv_ops = get_fwd_send_ops = get_bwd_recv_ops = get_bwd_send_ops = no_transfers

    def forward_one_chunk(self, microbatch: int, *_args: object, **_options: object) -> None:
        self.cells.append(f"{self.stage_index}F{microbatch}")

    def backward_one_chunk(self, microbatch: int, **_options: object) -> None:
        self.cells.append(f"{self.stage_index}B{microbatch}")

    def perform_reduce_grad(self, _scale: int) -> None:
        pass


def executed_by_torch(name: str, pp: int, n_microbatches: int) -> list[list[str]]:
    rows = []
    for rank in range(pp):
        schedule = object.__new__(SINGLE[name])
        schedule._stage, schedule._num_stages = RecordingStage(rank), pp
        schedule._n_microbatches, schedule.scale_grads = n_microbatches, True
        nothing = [()] * n_microbatches
        schedule._check_inputs = lambda *_args, nothing=nothing: (nothing, nothing)
        for quiet in ("_initialize_stage", "_maybe_compute_loss", "_maybe_get_loss"):
            setattr(schedule, quiet, lambda *_args: None)
        schedule._update_losses = lambda *_args: None
        schedule._step_microbatches()
        rows.append(schedule._stage.cells)
    return rows


def torch_interleaved(pp: int, virtual_stages: int, n_microbatches: int) -> dict[int, list[Any]]:
    rounds = max(1, n_microbatches // pp)
    shape: Any = SimpleNamespace(
        n_local_stages=virtual_stages,
        pp_group_size=pp,
        microbatches_per_round=n_microbatches // rounds,
        _n_microbatches=n_microbatches,
    )
    order = torch_schedules.ScheduleInterleaved1F1B._calculate_single_rank_operations
    return {rank: order(shape, rank) for rank in range(pp)}


def compute_cells(order: dict[int, list[Any]]) -> list[list[str]]:
    return [
        [str(action) for action in row if action is not None and action.is_compute_op]
        for _, row in sorted(order.items())
    ]


def cells(schedule: Schedule) -> list[list[str]]:
    return [line.split(",") for line in schedule.to_csv().splitlines()]


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("pp", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("extra", [0, 1, 5, 32])
def test_single_chunk_schedules_follow_torch(name: str, pp: int, extra: int) -> None:
    n_microbatches = pp + extra
    ours = make_schedule(name, pp, 1, n_microbatches)
    assert cells(ours) == executed_by_torch(name, pp, n_microbatches)


@pytest.mark.parametrize("pp", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("virtual_stages", [1, 2, 3, 7])
@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_interleaved_follows_torch(pp: int, virtual_stages: int, rounds: int) -> None:
    n_microbatches = pp * rounds
    ours = make_schedule("interleaved-1f1b", pp, virtual_stages, n_microbatches)
    assert cells(ours) == compute_cells(torch_interleaved(pp, virtual_stages, n_microbatches))


@pytest.mark.parametrize(("pp", "n_microbatches"), [(4, 10), (4, 3), (3, 4), (8, 2)])
def test_interleaved_follows_torch_where_rounds_are_not_pp(pp: int, n_microbatches: int) -> None:
    ours = make_schedule("interleaved-1f1b", pp, 2, n_microbatches)
    assert cells(ours) == compute_cells(torch_interleaved(pp, 2, n_microbatches))


@pytest.mark.parametrize(
    ("name", "pp", "virtual_stages", "n_microbatches"),
    [
        ("gpipe", 4, 1, 6),
        ("1f1b", 4, 1, 9),
        ("1f1b", 8, 1, 3),
        ("interleaved-1f1b", 2, 2, 4),
        ("interleaved-1f1b", 4, 3, 8),
    ],
)
def test_torch_lowers_our_csv(name: str, pp: int, virtual_stages: int, n_microbatches: int) -> None:
    """torch's own reader, validator and send/receive insertion accept the table."""
    schedule = make_schedule(name, pp, virtual_stages, n_microbatches)
    actions = {
        rank: [torch_schedules._Action.from_str(cell) for cell in row]
        for rank, row in enumerate(cells(schedule))
    }
    places = torch_schedules._validate_schedule(actions, pp, schedule.n_chunks, n_microbatches)
    assert tuple(places[chunk] for chunk in range(schedule.n_chunks)) == schedule.rank_of_chunk()
    lowered = torch_schedules._add_send_recv(actions, places.__getitem__, schedule.n_chunks)
    sends = [action for row in lowered.values() for action in row if "SEND" in str(action)]
    crossing = schedule.n_chunks - 1 if pp > 1 else 0
    assert len(sends) == 2 * crossing * n_microbatches
