"""The weights of a run's last checkpoint as a folder that transformers loads.

Checkpoints go by the names of the whole model, so it is all the same under which plan it was saved.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict_loader import load

from runtime.checkpoint import latest
from runtime.exchange.config import config_of
from runtime.exchange.places import Place, family_of, places_of
from runtime.model.transformer import Transformer, whole_model
from runtime.restricted_reader import RestrictedReader, TensorsOnlyPlanner
from runtime.run_dir import RunDir
from simulator.catalog.plan_json import read_plan_file
from simulator.spec.errors import InputError
from simulator.spec.files import write_atomic
from simulator.spec.model import ModelSpec

LARGEST_FILE_BYTES = 5 * 10**9


def save_weights(run_dir: RunDir, folder: Path) -> list[Path]:
    """Write the last checkpoint's weights and a config.json; return the files.

    Raises InputError where there is no checkpoint, and for models of no family.
    """
    spec = read_plan_file(run_dir.plan).scenario.model
    checkpoint = latest(run_dir)
    if checkpoint is None:
        raise InputError("there is no checkpoint in this run", where=str(run_dir.root))
    family = family_of(spec)
    config = config_of(spec, family)
    tensors = _joined(spec, _read(spec, checkpoint))
    folder.mkdir(parents=True, exist_ok=True)
    written = _write(tensors, folder)
    write_atomic(folder / "config.json", json.dumps(config, indent=1))
    return [*written, folder / "config.json"]


def _read(spec: ModelSpec, checkpoint: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by our names."""
    with torch.device("meta"):
        model = Transformer(spec, whole_model(spec))
    tensors = {f"weight.{name}": torch.empty(each.shape) for name, each in model.named_weights()}
    load(
        tensors,
        storage_reader=RestrictedReader(checkpoint),
        planner=TensorsOnlyPlanner(),
        no_dist=True,
    )
    return {name.removeprefix("weight."): tensor for name, tensor in tensors.items()}


def _joined(spec: ModelSpec, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the family's files."""
    parts: dict[str, list[tuple[Place, Tensor]]] = defaultdict(list)
    for name, weight in weights.items():
        places = places_of(name, spec, family_of(spec))
        values = weight.unbind() if weight.dim() > 2 else (weight,)
        for place, value in zip(places, values, strict=True):
            theirs = value if place.pairs is None else place.pairs.side_by_side(value)
            parts[place.tensor].append((place, theirs))
    joined = {}
    for name, members in parts.items():
        members.sort(key=lambda member: member[0].part)
        whole = torch.cat([value for _, value in members])
        joined[name] = (whole.T if members[0][0].transposed else whole).contiguous()
    return joined


def _write(tensors: dict[str, Tensor], folder: Path) -> list[Path]:
    from safetensors.torch import save_file

    files = list(_files(tensors))
    written = []
    index: dict[str, str] = {}
    for number, names in enumerate(files, start=1):
        of_all = f"-{number:05}-of-{len(files):05}" if len(files) > 1 else ""
        path = folder / f"model{of_all}.safetensors"
        unfinished = path.with_suffix(".part")
        save_file({name: tensors[name] for name in names}, unfinished, metadata={"format": "pt"})
        unfinished.replace(path)
        written.append(path)
        index |= dict.fromkeys(names, path.name)
    if len(files) > 1:
        total = sum(tensor.nbytes for tensor in tensors.values())
        path = folder / "model.safetensors.index.json"
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=1)
        write_atomic(path, text)
        written.append(path)
    return written


def _files(tensors: dict[str, Tensor]) -> Iterator[list[str]]:
    """Yield the names of every file, none of which is much larger than `LARGEST_FILE_BYTES`."""
    names: list[str] = []
    n_bytes = 0
    for name, tensor in tensors.items():
        if names and n_bytes + tensor.nbytes > LARGEST_FILE_BYTES:
            yield names
            names, n_bytes = [], 0
        names.append(name)
        n_bytes += tensor.nbytes
    yield names
