"""Reads torch.distributed.checkpoint's files without running what is in them.

torch unpickles a checkpoint's `.metadata` and every entry that is not a tensor, and follows the
paths that the metadata names. Here the metadata may only be made of the classes that it needs,
must stay inside its folder, and entries other than tensors are refused (Armillary keeps those in
JSON). Tensors are read by torch with `weights_only=True`.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import ReadItem

from simulator.spec.errors import InputError

METADATA_FILE = ".metadata"
METADATA_LIMIT_BYTES = 256 * 2**20

_ALLOWED = {
    "torch.distributed.checkpoint.metadata": {
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size"},
    "pathlib": {"PosixPath"},
    "pathlib._local": {"PosixPath"},  # Python 3.13
}


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in _ALLOWED.get(module, ()):
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _damaged(folder: Path, reason: str) -> InputError:
    return InputError(
        f"not a checkpoint of this program, or damaged: {reason}",
        where=str(folder),
        fix="resume from another checkpoint, or start again in a new run directory",
    )


def read_metadata(folder: Path) -> Metadata:
    """Return a checkpoint's checked metadata. Raises InputError where it cannot be trusted."""
    try:
        with (folder / METADATA_FILE).open("rb") as file:
            content = file.read(METADATA_LIMIT_BYTES + 1)
    except OSError as error:
        raise _damaged(folder, f"{METADATA_FILE}: {error.strerror}") from None
    if len(content) > METADATA_LIMIT_BYTES:
        raise _damaged(folder, f"{METADATA_FILE} is larger than {METADATA_LIMIT_BYTES >> 20} MiB")
    try:
        metadata = _MetadataUnpickler(io.BytesIO(content)).load()
    except Exception as error:  # a pickle can fail in any way
        raise _damaged(folder, f"{METADATA_FILE}: {error}") from None
    if not isinstance(metadata, Metadata) or not isinstance(metadata.storage_data, dict):
        raise _damaged(folder, f"{METADATA_FILE} holds something else")
    for place in metadata.storage_data.values():
        _check_place(folder, place)
    return metadata


def _check_place(folder: Path, place: object) -> None:
    if not isinstance(place, _StorageInfo):
        raise _damaged(folder, f"{METADATA_FILE} holds something else")
    name = place.relative_path
    file = folder / name
    if Path(name).name != name or file.is_symlink() or not file.is_file():
        raise _damaged(folder, f"there is no file {name!r:.80} in it")
    if place.transform_descriptors:
        raise _damaged(folder, f"{name} is compressed")
    if place.offset < 0 or place.length < 0 or place.offset + place.length > file.stat().st_size:
        raise _damaged(folder, f"{name} is shorter than it should be")


class RestrictedReader(FileSystemReader):
    """Reads a checkpoint whose metadata has been checked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.checked = read_metadata(folder)

    def read_metadata(self) -> Metadata:
        """Return what has been checked, so that torch does not read the file again."""
        return self.checked


class TensorsOnlyPlanner(DefaultLoadPlanner):
    """Loads tensors and nothing else."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:  # noqa: ARG002
        """Refuse, where torch would unpickle."""
        raise InputError(f"{read_item.dest_index.fqn} is not a tensor")


def require_tensors(folder: Path, metadata: Metadata, wanted: dict[str, torch.Size]) -> None:
    """Raise InputError unless the checkpoint has tensors of these names and shapes."""
    for name, shape in wanted.items():
        found = metadata.state_dict_metadata.get(name)
        if not isinstance(found, TensorStorageMetadata):
            raise _damaged(folder, f"it has no {name}")
        if found.size != shape:
            raise InputError(
                f"{name} has shape {tuple(found.size)} in the checkpoint and {tuple(shape)} in the "
                "model",
                where=str(folder),
                fix="resume with the model that the run began with",
            )
