"""Names of nodes in Slurm's short form: `tux[0-3,12],gpu[001-128]`.

References: the slurm.conf manual, section on node names: ranges in brackets, leading zeros kept.
"""

from __future__ import annotations

import itertools
import re

from simulator.spec.errors import InputError

LIMIT_NAMES = 1_000_000
_PARTS = re.compile(r"[^\[\]]+|\[[^\[\]]*\]")
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


def expand(text: str, *, where: str) -> list[str]:
    """Return every name. Raises InputError for what is not such a list, or is far too long."""
    names: list[str] = []
    for item in _items(text):
        parts = _PARTS.findall(item)
        if not item or "".join(parts) != item:
            raise _not_a_list(text, where)
        choices = [_choices(part, where) if part[0] == "[" else [part] for part in parts]
        n_names = 1
        for choice in choices:
            n_names *= len(choice)
        if len(names) + n_names > LIMIT_NAMES:
            raise InputError(f"more than {LIMIT_NAMES:,} nodes", where=where)
        names += map("".join, itertools.product(*choices))
    return names


def _items(text: str) -> list[str]:
    """Return what commas outside of brackets separate."""
    items, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    return items


def _choices(part: str, where: str) -> list[str]:
    """Return what stands for one pair of brackets."""
    found: list[str] = []
    for item in part[1:-1].split(","):
        match = _RANGE.fullmatch(item)
        if match is None:
            raise _not_a_list(part, where)
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first >= LIMIT_NAMES:
            raise InputError(f"more than {LIMIT_NAMES:,} nodes", where=where)
        found += [f"{number:0{len(match[1])}d}" for number in range(first, last + 1)]
    return found


def _not_a_list(text: str, where: str) -> InputError:
    return InputError(
        f"{text!r:.60} is no list of names", where=where, fix="write it like node[1-8,12],login1"
    )
