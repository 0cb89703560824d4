"""Dimensions that a row leaves blank: from the catalog's model of that name, or by stated rules."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from simulator.catalog import find_model
from simulator.catalog.registry import list_names
from simulator.spec.model import ModelSpec
from simulator.validate.rows import RunRow

HEAD_WIDTH = 128
GPT_VOCABULARY = 50304
LLAMA_VOCABULARY = 32000
FFN_STEP = 256
"""Gated feed-forward networks are 8/3 of the hidden width, rounded up to a multiple of this."""


def filled(row: RunRow, assumed: list[str]) -> RunRow:
    """Return the row without blanks that can be inferred; `assumed` receives their columns."""
    changes = _from_catalog(row)
    row = replace(row, **changes)  # type: ignore[arg-type]
    for column, value in (
        ("gated_ffn", _gated(row)),
        ("heads", _heads(row)),
        ("vocab", GPT_VOCABULARY if row.gated_ffn is False else LLAMA_VOCABULARY),
        ("global_batch_seqs", _batch(row)),
    ):
        if getattr(row, column) is None and value is not None:
            changes[column] = value
            row = replace(row, **{column: value})  # type: ignore[arg-type]
    if not row.ffn_hidden and not row.n_experts and row.hidden:
        changes["ffn_hidden"] = _ffn(row.hidden, gated=row.gated_ffn is not False)
        row = replace(row, ffn_hidden=changes["ffn_hidden"])  # type: ignore[arg-type]
    assumed += [column for column in changes if column != "gated_ffn"]
    return row


def _from_catalog(row: RunRow) -> dict[str, object]:
    """Blank dimensions of a row whose model the catalog knows by name."""
    model = _known_model(_letters(row.model)) if not (row.n_layers and row.hidden) else None
    if model is None:
        return {}
    moe = model.moe
    values = {
        "n_layers": model.n_layers,
        "hidden": model.hidden_size,
        "heads": model.n_heads,
        "kv_heads": model.n_kv_heads,
        "ffn_hidden": model.ffn_size,
        "gated_ffn": model.gated_ffn,
        "vocab": model.vocab_size,
        "tied_embeddings": model.tied_embeddings,
        "n_experts": moe.n_experts if moe else None,
        "top_k": moe.top_k if moe else None,
        "moe_ffn_hidden": moe.expert_ffn_size if moe else None,
        "n_shared_experts": moe.n_shared_experts if moe else None,
        "first_dense_layers": moe.n_dense_layers if moe else None,
    }
    return {
        column: value
        for column, value in values.items()
        if value is not None and getattr(row, column) is None
    }


@cache
def _known_model(letters: str) -> ModelSpec | None:
    for name in list_names("models"):
        if _letters(name) == letters:
            return find_model(name)
    return None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower().partition("(")[0])


def _gated(row: RunRow) -> bool | None:
    """Four times the hidden width means two plain matrices (GPT), less a gated pair (Llama)."""
    if not row.ffn_hidden or not row.hidden:
        return None
    return row.ffn_hidden != 4 * row.hidden


def _heads(row: RunRow) -> int | None:
    if not row.hidden:
        return None
    heads, groups = max(1, row.hidden // HEAD_WIDTH), row.kv_heads or 1
    return heads if heads % groups == 0 else groups


def _ffn(hidden: int, *, gated: bool) -> int:
    return -(-8 * hidden // (3 * FFN_STEP)) * FFN_STEP if gated else 4 * hidden


def _batch(row: RunRow) -> int | None:
    """From step time and token rate; without them, one microbatch per pipeline slot."""
    rate, step_s = row.measured_tokens_per_s_per_device, row.measured_step_s
    if rate and step_s and row.n_devices and row.seq_len:
        return max(1, round(rate * step_s * row.n_devices / row.seq_len))
    if not row.micro_batch or not row.n_devices:
        return None
    model_ranks = (row.tp or 1) * (row.pp or 1) * (row.cp or 1)
    return row.micro_batch * (row.dp or row.n_devices // model_ranks) * (row.pp or 1)
