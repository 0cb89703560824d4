"""JSON as untrusted text: duplicate keys, infinities and bottomless nesting are refused."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from simulator.spec.errors import InputError
from simulator.spec.files import control_character


def read_json(text: str, name: str) -> Any:
    """Return the content of a JSON text. Raises InputError with `name:line`."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"key {twice!r:.60} is given twice", where=name)
        return value

    def refuse(constant: str) -> NoReturn:
        raise InputError(f"{constant} is not a number", where=name)

    def finite(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            raise InputError(f"number {digits:.40} is too large", where=name)
        return value

    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=refuse, parse_float=finite)
    except json.JSONDecodeError as error:
        raise InputError(
            f"not valid JSON: {error.msg}",
            where=f"{name}:{error.lineno}",
            fix="the file is truncated or not JSON",
        ) from None
    except RecursionError:
        raise InputError("nested too deeply", where=name) from None
    except ValueError:  # a whole number of thousands of digits
        raise InputError("a number with too many digits", where=name) from None
    _refuse_control_characters(value, name)
    return value


def _refuse_control_characters(root: Any, name: str) -> None:
    """Refuse what JSON can smuggle in as an escape: texts of a file are printed."""
    values = [root]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += [*value, *value.values()]
        elif isinstance(value, list):
            values += value
        elif isinstance(value, str) and (character := control_character(value)):
            raise InputError(f"a text with the control character {character}", where=name)
