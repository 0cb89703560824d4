"""Devices, fabrics, models, software, failures, prices and grids, each number with its source."""

from simulator.catalog.registry import (
    find_device,
    find_fabric,
    find_failure_profile,
    find_grid,
    find_model,
    find_price,
    find_software,
    list_names,
    software_of,
)

__all__ = [
    "find_device",
    "find_fabric",
    "find_failure_profile",
    "find_grid",
    "find_model",
    "find_price",
    "find_software",
    "list_names",
    "software_of",
]
