"""The model card: a Markdown file beside the model that says what it is, for people and for programs.

Its front matter is YAML, as Hugging Face's model cards have it (Mitchell et al. 2019, Model Cards for Model Reporting,
https://arxiv.org/abs/1810.03993).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from segscope.errors import SegscopeError

_FENCE = "---\n"


def write_card(
    path: Path,
    classes: Mapping[str, Sequence[str]],
    image_size: int,
    parameters: Mapping[str, int],
    training: Mapping[str, object],
    data: Mapping[str, object],
    metrics: Mapping[str, object],
) -> None:
    """Write the card.

    classes: without background. parameters: numbers of trained and frozen weights. training: the train params. data:
    what the model learned from. metrics: numbers of the best epoch, of each split.
    """
    facts = {
        "library_name": "keras",
        "pipeline_tag": "image-segmentation",
        "classes": ["background", *classes],
        "image_size": image_size,
        "revision": git_revision(),
        "parameters": dict(parameters),
        "data": dict(data),
        "training": dict(training),
        "metrics": {split: _rounded(metrics[split]) for split in ("train", "val")},
    }
    held = "\n".join(f"| {name} | {', '.join(categories)} |" for name, categories in classes.items())
    rows = "\n".join(
        f"| {key} | {metrics['train'].get(key, float('nan')):.3f} | {value:.3f} |"
        for key, value in metrics["val"].items()
    )
    text = f"""# Semantic segmentation: {", ".join(classes)}

MobileNetV2 and a {training["decoder"]} decoder with skip connections. Input: RGB, float32, 0 to 255,
{image_size} × {image_size} pixels, resized by an anti-aliased filter. Output: logits of the classes, in the
order of `classes` above.

| class | COCO categories and super-categories |
| --- | --- |
{held}

Learned from {data["train"]} images, judged by {data["val"]} others. Epoch {metrics["epoch"]} was kept:

| metric | train, during the epoch | val |
| --- | --- | --- |
{rows}

The best epoch was chosen by the val split, so its numbers are slightly optimistic. A train number is a mean over the
epoch's batches, on augmented images where there is augmentation. Metrics with intervals are in `metrics/predict.json`.

Made for looking into what such a model perceives and where it fails. Small objects are below its resolution. It has not
been judged on anything but the images above: measure before relying on it.
"""
    front = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)
    path.write_text(f"{_FENCE}{front}{_FENCE}\n{text}", encoding="utf-8")


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {key: round(float(value), 4) for key, value in values.items()}


def read_card(path: Path) -> tuple[list[str], int]:
    """The class names, background first, and the image size, of the card at `path`.

    Raises SegscopeError if there is no such card.
    """
    try:
        _, front, _ = path.read_text(encoding="utf-8").split(_FENCE, 2)
        facts = yaml.safe_load(front)
        return [str(name) for name in facts["classes"]], int(facts["image_size"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise SegscopeError(f"the model card {path} cannot be read ({error}); run `dvc repro train`") from error


def git_revision() -> str | None:
    """The commit checked out here, with -dirty where files differ from it; None outside of a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
