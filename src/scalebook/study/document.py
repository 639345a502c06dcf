"""YAML documents read safely and checked, with one line for whatever is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from scalebook.contract import ScalebookError


def read_yaml(path: Path) -> dict:
    """Read a YAML mapping.

    Raises
    ------
    ScalebookError
        One line, if the file cannot be read or is no mapping.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), path.name)
    except OSError as error:
        raise ScalebookError(f"{path}: cannot be read ({error.strerror})") from None


def parse_yaml(text: str, where: str) -> dict:
    """Parse a YAML mapping; `where` names it in errors."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        said = getattr(error, "problem", None) or "nested too deeply"
        raise ScalebookError(f"{where}{line}: not valid YAML ({said})") from None
    if not isinstance(document, dict):
        raise ScalebookError(f"{where}: must be a mapping of keys to values")
    return document


def validated(model: type[BaseModel], document: dict, where: str, prefix: str = "") -> Any:
    """Make a `model` of a document; `prefix` goes before the key in errors.

    Raises
    ------
    ScalebookError
        One line that names `where`, the key and what is allowed.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ScalebookError(f"{where}: {prefix}{one_line(error, model)}") from None


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """First complaint of pydantic as ``key: what, and what is allowed``."""
    # A key that is misspelt is also missing: the word that was written says more.
    errors = error.errors()
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    key = ".".join(str(part) for part in first["loc"])
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        fields = _model_at(model, first["loc"][:-1]).model_fields
        said = f"unknown key; allowed are {', '.join(f for f in fields if f != 'root')}"
    elif kind == "value_error":
        said = str(context["error"])
    elif kind == "missing":
        said = "is missing"
    else:
        given = f"{first['input']!r}"[:60]
        said = f"{given} is not allowed: {first['msg'][0].lower()}{first['msg'][1:]}"
    return " ".join((f"{key}: {said}" if key else said).split())


def _model_at(model: type[BaseModel], path: tuple) -> type[BaseModel]:
    """Model whose key was not known, found by following `path` through the fields' types."""
    for part in path:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        inner = _models_in(field.annotation) if field else []
        model = inner[0] if inner else model
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
