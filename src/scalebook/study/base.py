"""What all objects of ``study.yaml`` share: strictness, and the types of names and counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from scalebook.contract import LARGEST

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME)]
Positive = Annotated[int, Field(ge=1, le=LARGEST)]


def _each_once(values: list[int]) -> list[int]:
    twice = next((one for one in values if values.count(one) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is there twice: each seed is one run")
    return values


Seed = Annotated[int, Field(ge=0, le=LARGEST)]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_each_once)]


class Frozen(BaseModel):
    """Strict about keys and types, and unchangeable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
