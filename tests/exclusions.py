"""What a review writes for data.exclude."""

from collections.abc import Mapping, Sequence

import yaml


def exclusion_yaml(source: str, images: Sequence[int], annotations: Mapping[int, Sequence[int]]) -> str:
    """The text of such a file."""
    document = {
        "source": source,
        "images": list(images),
        "annotations": {i: list(ids) for i, ids in annotations.items()},
    }
    return yaml.safe_dump(document, sort_keys=True, default_flow_style=None)
