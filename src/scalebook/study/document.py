"""YAML documents read safely and checked, with one line for whatever is wrong.

What all objects of ``study.yaml`` share stands here too: strictness, and types of names and counts.
"""

import codecs
import functools
import itertools
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from scalebook.contract import LARGEST, LEADS_OUT, ScalebookError, leads_out

Model = TypeVar("Model", bound=BaseModel)

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME)]
#: What a reader calls a thing that has a name: one line, short.
Label = Annotated[str, Field(pattern=r"^[^\x00-\x1f`]*$", max_length=60)]
Positive = Annotated[int, Field(ge=1, le=LARGEST)]


def _each_once(values: list[int]) -> list[int]:
    twice = next((item for item in values if values.count(item) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is there twice: each seed is one run")
    return values


Seed = Annotated[int, Field(ge=0, le=LARGEST)]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_each_once)]


#: Most bytes of a text file of a study.
_LIMIT = 4 << 20


class Frozen(BaseModel):
    """Strict about keys and types, and unchangeable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which no key may be there twice, and ``1e-3`` is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
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


def read(model: type[Model], root: Path, where: str) -> Model:
    """Read a YAML file of a study as a `model`; what has not changed is parsed once in a process.

    Raises
    ------
    ScalebookError
        One line that names `where`, the key and what is allowed.
    """
    return parsed(model, read_text(root, where), where)


def parsed(model: type[Model], text: str, where: str) -> Model:
    """Make a `model` of YAML; equal texts give the same object: do not alter it."""
    made = _parsed(model, text, where)
    assert isinstance(made, model)
    return made


@functools.lru_cache(maxsize=512)
def _parsed(model: type[BaseModel], text: str, where: str) -> BaseModel:
    return validated(model, parse_yaml(text, where), where)


def decoded(data: bytes, errors: str = "strict") -> str:
    """Text of a file: UTF-8, or UTF-16 as Excel and PowerShell write it.

    Parameters
    ----------
    data : bytes
        All of the file.
    errors : str
        As `bytes.decode` takes it.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors)
    if len(data) > 3 and (data[1:4:2] == b"\0\0" or data[:3:2] == b"\0\0"):  # without its mark
        return data.decode("utf-16-le" if data[0] else "utf-16-be", errors)
    return data.decode("utf-8-sig", errors)


def not_utf8(data: bytes) -> str:
    """Why a program that reads only UTF-8 cannot read it, and what to do; empty if it can."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        where = "UTF-16" if utf16 else f"not UTF-8 (byte {error.start + 1})"
        return f"is {'in ' * utf16}{where}: save it as UTF-8"
    return ""


def read_text(root: Path, where: str) -> str:
    """Read a text file of the study in `root`; `where` is its path there.

    Raises
    ------
    ScalebookError
        One line, if the file lies elsewhere, is too large, cannot be read or is no text.
    """
    if leads_out(root, where):
        raise ScalebookError(f"{where}: {LEADS_OUT}")
    data = b""
    try:
        if (root / where).stat().st_size > _LIMIT:
            raise ScalebookError(f"{where}: larger than {_LIMIT >> 20} MiB, refused")
        data = (root / where).read_bytes()
        # Line ends as text files have them, whatever the machine that wrote them.
        return decoded(data).replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise ScalebookError(f"{where}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ScalebookError(f"{where}: {not_utf8(data)}") from None


def parse_yaml(text: str, where: str) -> dict[Any, Any]:
    """Parse a YAML mapping; `where` names it in errors."""
    document = parse_value(text, where)
    if not isinstance(document, dict):
        raise ScalebookError(f"{where}: must be a mapping of keys to values")
    return document


def beside(module: str) -> Any:
    """Data of a module, given by its ``__file__``: the YAML beside it that has its name."""
    text = Path(module).with_suffix(".yaml").read_text(encoding="utf-8")
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@functools.lru_cache(maxsize=128)
def nodes(text: str) -> yaml.Node | None:
    """Nodes of a YAML document, which know the lines they stand on; parsed once in a process."""
    return yaml.compose(text, _Loader)


def parse_value(text: str, where: str) -> Any:
    """Parse YAML of any kind; `where` names it in errors."""
    line = ""
    try:
        node = nodes(text)
        return None if node is None else _Loader("").construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    except RecursionError:
        problem = "nested too deeply"
    except ValueError as error:  # such as the 31st of April
        problem = str(error).partition(";")[0]
    raise ScalebookError(f"{where}{line}: not valid YAML ({problem})")


def validated(model: type[Model], document: dict[Any, Any], where: str, prefix: str = "") -> Model:
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
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    key = ".".join(str(part) for part in first["loc"])
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        fields = _model_at(model, first["loc"][:-1]).model_fields
        problem = f"unknown key; allowed are {', '.join(fields)}"
    elif kind == "value_error":
        problem = str(context["error"])
    elif kind == "missing":
        problem = "is missing"
    else:
        given = f"{first['input']!r}"[:60]
        problem = f"{given} is not allowed: {first['msg'][0].lower()}{first['msg'][1:]}"
    return " ".join((f"{key}: {problem}" if key else problem).split())


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel]:
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


def each_of(way: Any) -> list[Any]:
    """Settings with each combination of the values that are lists; the first varies slowest."""
    if not isinstance(way, dict):
        return [way]
    values = [value if isinstance(value, list) and value else [value] for value in way.values()]
    return [dict(zip(way, combination)) for combination in itertools.product(*values)]
