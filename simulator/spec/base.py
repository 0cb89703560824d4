"""What every described thing shares: frozen, closed and without infinities."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import pandas as pd

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A name that may end up in a path, a script or a cluster object."""


def spec_name(text: str) -> str:
    """Return the nearest thing to `text` that is a name."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text.rstrip("/").rpartition("/")[2]).strip("._-")
    return kept[:63] or "unnamed"


Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1, le=10**9)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class Spec(BaseModel):
    """Base of the described values: immutable, no unknown fields, finite numbers."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=False,
        json_schema_serialization_defaults_required=True,
    )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per field, dotted where nested, with its value."""
        import pandas as pd

        return pd.json_normalize(self.model_dump(mode="json")).T.set_axis(["value"], axis="columns")


class Precision(StrEnum):
    """Number format of the matrix multiplications."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    FP8 = "fp8"
    MXFP8 = "mxfp8"
    NVFP4 = "nvfp4"
    INT8 = "int8"


class Basis(StrEnum):
    """What a number rests on, from weakest to strongest."""

    ASSUMED = "assumed"
    DATASHEET = "datasheet"
    CALIBRATED = "calibrated"
    MEASURED = "measured"


class Source(Spec):
    """Where one number comes from."""

    field: str
    """The field it explains, dotted when nested."""
    basis: Basis
    source: str
    """Document, repository path or measurement."""
    date: str = ""
