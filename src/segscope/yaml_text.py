"""YAML that people write: read as DVC reads it, within bounds."""

from __future__ import annotations

import math
import textwrap
from itertools import chain
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from segscope.errors import SegscopeError
from segscope.limits import MAX_YAML_BYTES, MAX_YAML_VALUES

SHOWN = 240  # characters of a fault


def yaml_reader() -> YAML:
    """YAML as DVC reads it: version 1.2, each key once."""
    return YAML(typ="safe", pure=True)


def parse_yaml(text: bytes | str, name: str, scale: int = 1) -> Any:
    """The document of a YAML text. name: what errors call it. scale: of the bounds, for what tools write, too.

    Raises SegscopeError if it is none, or so large, with its aliases written out, that it is not what a person wrote.
    """
    if len(text) > scale * MAX_YAML_BYTES:
        raise SegscopeError(f"{name} is larger than {scale * MAX_YAML_BYTES} bytes: nobody wrote it by hand")
    try:
        text = text if isinstance(text, str) else text.decode()
        if _count_values(yaml_reader().compose(text), {}) > scale * MAX_YAML_VALUES:
            raise YAMLError(f"more than {scale * MAX_YAML_VALUES} values, with aliases written out")
        return yaml_reader().load(text)
    except RecursionError:
        raise SegscopeError(f"{name} is nested too deeply to be read") from None
    except Exception as error:  # beside its own errors the parser lets others through, as at a value unlike its tag
        raise SegscopeError(f"{name} is not valid YAML: {_fault(error)}") from error


def _fault(error: Exception) -> str:
    message, where = error, ""
    if isinstance(error, MarkedYAMLError):
        mark, message = error.problem_mark or error.context_mark, error.problem or error.context
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    elif not isinstance(error, YAMLError):
        where = "a value cannot be read: "
    return where + textwrap.shorten(str(message), SHOWN, placeholder=" …")


def _count_values(node: Node | None, counted: dict[int, float]) -> float:
    """Values below a node, aliases written out: infinitely many if it holds itself."""
    if node is None or isinstance(node, ScalarNode):
        return 1
    if id(node) not in counted:
        counted[id(node)] = math.inf
        children = chain.from_iterable(node.value) if isinstance(node, MappingNode) else node.value
        counted[id(node)] = 1.0 + sum(_count_values(child, counted) for child in children)
    return counted[id(node)]
