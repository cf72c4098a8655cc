"""params.yaml as a file: read as DVC reads it, explained where it is wrong, and written from the declarations."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from segscope.errors import SegscopeError
from segscope.limits import MAX_YAML_BYTES, read_within
from segscope.params import Group, Params, shown
from segscope.yaml_text import parse_yaml, yaml_reader

HEADER = "# Everything a run can vary. An unknown key or an impossible value is an error that says what is allowed.\n"
WIDTH = 120  # of the file's lines
COMMENTS = 28  # the column of the comments


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and validate a params file. Raises SegscopeError naming each wrong key, its value and the choices."""
    try:
        content = read_within(path, MAX_YAML_BYTES)
    except OSError as error:
        raise SegscopeError(f"{path} cannot be read: {error.strerror}") from error
    return parse_params(content, str(path))


def parse_params(text: bytes | str, name: str, known_only: bool = False) -> Params:
    """Validate the text of a params file.

    name: what errors call it. known_only: leave out keys that do not exist, as another revision's file may hold some.
    Raises SegscopeError naming each wrong key, its value and the choices.
    """
    document = parse_yaml(text, name)
    if not isinstance(document, dict):
        raise SegscopeError(f"{name} must hold a mapping of parameter groups, not {type(document).__name__}")
    try:
        return Params.model_validate(_known(document, Params) if known_only else document)
    except ValidationError as error:
        lines = "\n".join(f"  {_explain(item)}" for item in error.errors(include_url=False))
        raise SegscopeError(f"{name} is not valid:\n{lines}") from None


def _known(document: dict[str, Any], group: type[BaseModel]) -> dict[str, Any]:
    known = {}
    for key, field in group.model_fields.items():
        if key in document:
            value, kind = document[key], field.annotation
            if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, BaseModel):
                value = _known(value, kind)
            known[key] = value
    return known


def render_params(params: Params) -> str:
    """The text of a params file: each key in order, with its comment."""
    return HEADER + "".join(
        _render_block(key, getattr(params, key), field.description) for key, field in Params.model_fields.items()
    )


def _render_block(key: str, value: object, comment: str | None) -> str:
    lines = [""] if comment is None else ["", _comment(comment)]
    if isinstance(value, Group):
        fields = type(value).model_fields
        lines += [f"{key}:", *(_render_key(k, v, fields[k].description) for k, v in value.model_dump().items())]
    elif isinstance(value, dict):
        lines += [f"{key}:", *(f"  {_flow(k)}: {_flow(v)}" for k, v in value.items())]
    else:
        lines += [f"{key}: {_flow(value)}"]
    return "".join(f"{line}\n" for line in lines)


def _render_key(key: str, value: object, comment: str | None) -> str:
    pair = f"  {key}: {_flow(value)}"
    if comment is None:
        return pair
    if len(pair) > WIDTH // 2:
        return f"{_comment(comment, '  ')}\n{pair}"
    pair = f"{pair:{COMMENTS - 2}}  "
    return pair + _comment(comment, " " * len(pair)).lstrip()


def _comment(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _flow(value: object) -> str:
    """A value on one line."""
    yaml: Any = yaml_reader()
    stream = io.StringIO()
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output, yaml.width = True, False, 2 * MAX_YAML_BYTES
    yaml.dump(value, stream)
    return stream.getvalue().removesuffix("...\n").strip()


def _explain(error: ErrorDetails) -> str:
    *parents, last = error["loc"] or ("the file",)
    key, value = ".".join(map(str, [*parents, last])), shown(error["input"])
    if last == "[key]":
        key, value = ".".join(map(str, parents[:-1])), f"the name {value}"
    match error["type"]:
        case "undeclared":
            return error["msg"]
        case "extra_forbidden":
            return f"{key}: unknown key; choices: {', '.join(_keys(parents))}"
        case "missing":
            return f"{key}: required key is missing"
        case "literal_error":
            return f"{key}: {value} is not allowed; choices: {error['ctx']['expected']}"
        case "model_type":
            return f"{key}: {value} is not allowed; it must be a mapping; its keys: {', '.join(_keys(error['loc']))}"
        case "value_error":
            return f"{key}: {value} is not allowed; {error['ctx']['error']}"
        case _:
            return f"{key}: {value} is not allowed; {error['msg']}"


def _keys(location: Any) -> list[str]:
    group: Any = Params
    for name in location:
        group = group.model_fields[name].annotation
    return list(group.model_fields)
