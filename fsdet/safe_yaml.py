"""YAML within bounds: input of others must not exhaust memory or the stack."""

from typing import Any

import yaml

MOST_VALUES = 100_000
MOST_LEVELS = 50


def load(text: str, loader: type[yaml.SafeLoader | yaml.BaseLoader] = yaml.SafeLoader) -> Any:
    """The values of a YAML document; None for an empty one.

    Raises:
        ValueError: not YAML, a value that its tag does not allow, too many values (an alias counts as often as it
            is used), or too many levels (an alias may refer to itself).
    """
    try:
        reader = loader(text)
        node = reader.get_single_node()
        if node is None:
            return None
        _check_bounds(node)
        return reader.construct_document(node)
    except RecursionError:
        raise ValueError(f"expected at most {MOST_LEVELS} levels of nesting") from None
    except (yaml.YAMLError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
        raise ValueError(str(error)) from error  # a tag such as !!int fails with any of these


def _check_bounds(root: yaml.Node) -> None:
    count, nodes = 0, [(root, 0)]
    while nodes:
        node, level = nodes.pop()
        count += 1
        if level > MOST_LEVELS:
            raise ValueError(
                f"expected at most {MOST_LEVELS} levels of nesting; an alias may refer to itself"
            )
        if count > MOST_VALUES:
            raise ValueError(f"expected at most {MOST_VALUES} values, each use of an alias counted")
        if isinstance(node, yaml.SequenceNode):
            nodes += [(entry, level + 1) for entry in node.value]
        elif isinstance(node, yaml.MappingNode):
            nodes += [(part, level + 1) for pair in node.value for part in pair]
