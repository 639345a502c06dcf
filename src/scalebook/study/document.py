"""YAML documents read safely and checked, with one line for whatever is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from scalebook.contract import ScalebookError


class _Loader(yaml.SafeLoader):
    """Safe YAML in which no key may be there twice, and ``1e-3`` is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        written = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in written:  # the last would win, the first be lost
                    raise yaml.constructor.ConstructorError(
                        problem=f"key {key.value!r} is there twice", problem_mark=key.start_mark
                    )
                written.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


# To YAML 1.1, which PyYAML reads, a number with an exponent and no point is a word.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_text(path: Path, where: str) -> str:
    """Read a text file; `where` names it in errors.

    Raises
    ------
    ScalebookError
        One line, if the file cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScalebookError(f"{where}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ScalebookError(
            f"{where}: is not UTF-8 (byte {error.start + 1}): save it as UTF-8"
        ) from None


def read_yaml(path: Path) -> dict:
    """Read a YAML mapping.

    Raises
    ------
    ScalebookError
        One line, if the file cannot be read or is no mapping.
    """
    return parse_yaml(read_text(path, str(path)), path.name)


def parse_yaml(text: str, where: str) -> dict:
    """Parse a YAML mapping; `where` names it in errors."""
    document = parse_value(text, where)
    if not isinstance(document, dict):
        raise ScalebookError(f"{where}: must be a mapping of keys to values")
    return document


def parse_value(text: str, where: str) -> Any:
    """Parse YAML of any kind; `where` names it in errors."""
    line = ""
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
    except RecursionError:
        said = "nested too deeply"
    except ValueError as error:  # such as the 31st of April
        said = str(error).partition(";")[0]
    raise ScalebookError(f"{where}{line}: not valid YAML ({said})")


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
