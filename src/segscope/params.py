"""params.yaml as typed, validated objects. Each key is declared here once: type, range, default, meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from segscope.errors import SegscopeError

CategoryNames = Annotated[list[str], Field(min_length=1)]
PositiveInt = Annotated[int, Field(ge=1)]
RelativePath = Annotated[str, Field(pattern=r"^[^/].*$")]
Url = Annotated[str, Field(pattern=r"^https?://")]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Splits(_Group):
    train: str = Field("train2017", min_length=1)
    val: str = Field("val2017", min_length=1)


class SplitSizes(_Group):
    train: PositiveInt
    val: PositiveInt


class Data(_Group):
    """Which images: their source and the subset."""

    source: Literal["sample", "directory", "coco2014", "coco2017"] = "sample"
    root: str = Field("data/coco", min_length=1)
    splits: Splits = Splits()
    annotations: RelativePath = "annotations/instances_{split}.json"
    images: RelativePath = "{split}"
    annotations_url: Url = "http://images.cocodataset.org/annotations"
    images_url: Url = "http://images.cocodataset.org"
    archive_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    cache_dir: str = "data/cache"
    exclude: str = Field("data/exclude.yaml", min_length=1)
    max_missing: Annotated[float, Field(ge=0, le=1)] = 0.01
    contains: list[str] = []
    match: Literal["all", "any", "none"] = "any"
    max_images: SplitSizes = SplitSizes(train=15000, val=5000)
    sample_images: SplitSizes = SplitSizes(train=240, val=120)
    seed: Annotated[int, Field(ge=0)] = 0
    image_size: Annotated[int, Field(ge=32, le=1024, multiple_of=32)] = 128

    @model_validator(mode="after")
    def _splits_differ(self) -> Data:
        if "{split}" not in self.annotations or self.splits.train == self.splits.val:
            raise ValueError(
                "data.annotations must hold '{split}', and data.splits.train and .val must differ: "
                "else both splits are the same images"
            )
        return self


class Masks(_Group):
    crowd: Literal["include", "ignore"] = "include"


class Model(_Group):
    encoder_weights: str = Field("wheel", min_length=1)


class Train(_Group):
    """How the model is trained."""

    recipe: Literal["tuned", "reference"] = "tuned"
    epochs: PositiveInt = 15
    patience: PositiveInt = 6
    batch_size: PositiveInt = 16
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    schedule: Literal["constant", "cosine"] = "cosine"
    decoder: Literal["separable", "transposed"] = "separable"
    class_weights: Literal["none", "sqrt_balanced", "balanced"] = "sqrt_balanced"
    augment: Literal["none", "flip", "flip_crop"] = "flip_crop"
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    xla: bool = False
    seed: Annotated[int, Field(ge=0)] = 0

    def applied(self) -> Train:
        """These options, those that make the reference's recipe being the reference's where it is chosen."""
        return self.model_copy(update=REFERENCE_RECIPE) if self.recipe == "reference" else self


# Of the commercial platform's published training: plain cross-entropy, no augmentation, pix2pix's own decoder.
REFERENCE_RECIPE = {
    "learning_rate": 1e-3,
    "schedule": "constant",
    "decoder": "transposed",
    "class_weights": "none",
    "augment": "none",
}


class Predict(_Group):
    batch_size: PositiveInt = 32
    bootstrap: Annotated[int, Field(ge=100)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0


class Labels(_Group):
    folds: Annotated[int, Field(ge=1, le=20)] = 1


class Insights(_Group):
    min_images: Annotated[int, Field(ge=5)] = 10
    permutations: Annotated[int, Field(ge=100)] = 500
    bootstrap: Annotated[int, Field(ge=100)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0


class Embed(_Group):
    splits: Annotated[list[Literal["train", "val"]], Field(min_length=1)] = ["train", "val"]
    layers: Annotated[list[str], Field(min_length=1)] = ["block_16_project", "up_3_relu"]
    dimensions: Annotated[int, Field(ge=2)] = 32
    neighbors: PositiveInt = 12
    umap_neighbors: Annotated[int, Field(ge=2)] = 15
    umap_min_dist: Annotated[float, Field(ge=0, le=1)] = 0.1
    align_to: Annotated[str, Field(min_length=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _splits_and_layers_are_named_once(self) -> Embed:
        for key in ("splits", "layers"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"embed.{key} names one twice: {', '.join(values)}")
        return self


class Cluster(_Group):
    dimensions: Annotated[int, Field(ge=2, le=50)] = 5
    min_cluster_size: Annotated[int, Field(ge=2)] | None = None
    min_samples: PositiveInt | None = None
    exemplars: PositiveInt = 8
    stability_runs: Annotated[int, Field(ge=0)] = 3
    explained: Annotated[int, Field(ge=0)] = 6
    seed: Annotated[int, Field(ge=0)] = 0


class Report(_Group):
    title: str = "segscope"
    gallery: PositiveInt = 8
    suspects: PositiveInt = 24
    thumbnail: Annotated[int, Field(ge=32, le=512)] = 160


class Params(_Group):
    variant: str
    variants: dict[str, dict[str, CategoryNames]]
    data: Data = Data()
    masks: Masks = Masks()
    model: Model = Model()
    train: Train = Train()
    predict: Predict = Predict()
    labels: Labels = Labels()
    embed: Embed = Embed()
    cluster: Cluster = Cluster()
    insights: Insights = Insights()
    report: Report = Report()

    @model_validator(mode="after")
    def _variant_is_declared(self) -> Params:
        if self.variant not in self.variants:
            raise ValueError(f"variant {self.variant!r} is not declared; choices: {', '.join(self.variants)}")
        for name, classes in self.variants.items():
            if not classes:
                raise ValueError(f"variants.{name} has no classes")
            if "background" in classes:
                raise ValueError(f"variants.{name}: 'background' is the class of all other pixels; choose another name")
        return self


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and validate a params file. Raises SegscopeError naming each wrong key, its value and the choices."""
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SegscopeError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SegscopeError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise SegscopeError(f"{path} must hold a mapping of parameter groups, not {type(document).__name__}")
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        lines = "\n".join(f"  {_explain(item)}" for item in error.errors())
        raise SegscopeError(f"{path} is not valid:\n{lines}") from None


def _explain(error: dict) -> str:
    key = ".".join(str(part) for part in error["loc"])
    value = error["input"]
    match error["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key; choices: {', '.join(_keys(error['loc'][:-1]))}"
        case "missing":
            return f"{key}: required key is missing"
        case "literal_error":
            return f"{key}: {value!r} is not allowed; choices: {error['ctx']['expected']}"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return f"{key}: {value!r} is not allowed; {error['msg']}"


def _keys(location: tuple) -> list[str]:
    group: type[BaseModel] = Params
    for name in location:
        group = group.model_fields[name].annotation
    return list(group.model_fields)
