"""The model card: a Markdown file beside the model that says what it is, for people and for programs.

Its front matter is YAML, as Hugging Face's model cards have it (Mitchell et al. 2019, Model Cards for Model Reporting,
https://arxiv.org/abs/1810.03993).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from segscope.errors import SegscopeError, made_by, reason
from segscope.limits import MAX_YAML_BYTES, read_within
from segscope.yaml_text import parse_yaml

_FENCE = "---\n"
_KERAS: dict[str, object] = {"library_name": "keras", "pipeline_tag": "image-segmentation"}


def write_card(
    path: Path,
    classes: Mapping[str, Sequence[str]],
    image_size: int,
    parameters: Mapping[str, int],
    training: Mapping[str, object],
    data: Mapping[str, object],
    metrics: Mapping[str, Any],
) -> None:
    """Write the card.

    classes: without background. parameters: numbers of trained and frozen weights. training: the train params. data:
    what the model learned from. metrics: the best epoch and its numbers of each split, as `history.best_metrics` has
    them.
    """
    rows = "\n".join(
        f"| {key} | {metrics['train'].get(key, float('nan')):.3f} | {value:.3f} |"
        for key, value in metrics["val"].items()
    )
    network = f"""MobileNetV2 and a {training["decoder"]} decoder with skip connections. Input: RGB, float32, 0 to 255,
{image_size} × {image_size} pixels, resized by an anti-aliased filter. Output: logits of the classes, in the
order of `classes` above."""
    worth = f"""Learned from {data["train"]} images, judged by {data["val"]} others. Epoch {metrics["epoch"]} was kept:

| metric | train, during the epoch | val |
| --- | --- | --- |
{rows}

`objective` is what was optimised (`objective` and `class_weights` of `training` above); `loss` is cross-entropy without
weights. The val split had no say in the training, nor in which epoch was kept. A train number is a mean over the
epoch's batches, on augmented images where there is augmentation. Metrics of both splits' images as they are, with
intervals, are in `artifacts/measures.parquet`.

Made for looking into what such a model perceives and where it fails. Small objects are below its resolution. It has not
been judged on anything but the images above: measure before relying on it.
"""
    facts = {
        "data": dict(data),
        "training": dict(training),
        "metrics": {split: _rounded(metrics[split]) for split in ("train", "val")},
    }
    _write(path, _KERAS | _model_facts(classes, image_size, parameters) | facts, classes, network, worth)


def write_taken_card(
    path: Path,
    classes: Mapping[str, Sequence[str]],
    image_size: int,
    parameters: Mapping[str, int],
    said: Mapping[str, object],
) -> None:
    """Write the card of a model that was not trained here. said: of `take_model`; the rest as of `write_card`."""
    facts = _model_facts(classes, image_size, parameters) | dict(said)
    if said["source"] == "keras":
        facts = _KERAS | facts
        network = f"""\
The user's network {said["path"]}, with layers of our own around it. Input: RGB, float32, 0 to 255,
{image_size} × {image_size} pixels. Output: logarithms of the classes' probabilities, in the order of
`classes` above."""
    else:
        network = f"""\
What another model predicted, in {said["path"]}. The network in model.keras is the pretrained encoder
alone, which the latent space is of: it labels no pixels."""
    worth = """\
It was not trained here. Nothing is known of the images that it learned from: if those of val are among them, its
metrics there flatter it. They are in `artifacts/measures.parquet`.
"""
    _write(path, facts, classes, network, worth)


def _model_facts(
    classes: Mapping[str, Sequence[str]], image_size: int, parameters: Mapping[str, int]
) -> dict[str, object]:
    return {"classes": ["background", *classes], "image_size": image_size, "parameters": dict(parameters)}


def _write(
    path: Path, facts: Mapping[str, object], classes: Mapping[str, Sequence[str]], network: str, worth: str
) -> None:
    """Write a card. network: what it is, and what goes in and comes out. worth: where it is from, and how good."""
    front = yaml.safe_dump(dict(facts), sort_keys=False, allow_unicode=True)
    held = "\n".join(f"| {name} | {', '.join(categories)} |" for name, categories in classes.items())
    text = f"""# Semantic segmentation: {", ".join(classes)}

{network}

| class | COCO categories and super-categories |
| --- | --- |
{held}

{worth}"""
    path.write_text(f"{_FENCE}{front}{_FENCE}\n{text}", encoding="utf-8")


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {key: round(float(value), 4) for key, value in values.items()}


def read_facts(path: Path) -> dict[str, Any]:
    """The front matter of the card at `path`. Raises SegscopeError if there is no such card."""
    try:
        _, front, _ = read_within(path, MAX_YAML_BYTES).decode().split(_FENCE, 2)
        return dict(parse_yaml(front, "its front matter"))
    except (OSError, ValueError, TypeError, SegscopeError) as error:
        said = f"the model card {path} cannot be read ({reason(error, path)}); {made_by('train')}"
        raise SegscopeError(said) from error


def read_card(path: Path) -> tuple[list[str], int]:
    """The class names, background first, and the image size, of the card at `path`.

    Raises SegscopeError if there is no such card, or it lacks them.
    """
    facts = read_facts(path)
    if facts.get("source") == "predictions":
        raise SegscopeError(
            "the run's model is known by its predictions alone (model.source): there is no network to run"
        )
    try:
        names, size = [str(name) for name in facts["classes"]], int(facts["image_size"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise SegscopeError(f"the model card {path} does not say {error}; {made_by('train')}") from error
    if len(names) > 256:
        raise SegscopeError(f"the model card {path} names {len(names)} classes, more than the 256 that a mask can hold")
    return names, size
