"""What all objects of ``study.yaml`` share: strictness, and the types of names and counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME)]
Positive = Annotated[int, Field(ge=1)]


class Frozen(BaseModel):
    """Strict about keys and types, and unchangeable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
