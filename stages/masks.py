"""masks: resized images and category masks as TFRecord shards, and everything known of each image."""

import json
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from segscope import schemas, stage
from segscope.errors import SegscopeError
from segscope.files import atomic_path, write_json
from segscope.images import encode_png, open_image, resize_image
from segscope.masks import compose_mask, instances_table, resize_mask
from segscope.metadata import content, photography
from segscope.params import Params
from segscope.records import example, open_shard

ARTIFACTS = Path("artifacts")
SHARD_IMAGES = 1024


def main(params: Params) -> None:
    index = schemas.read_parquet("data/index.parquet", schemas.INDEX)
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    samples, instances = [], []
    with atomic_path(ARTIFACTS / "dataset") as folder:
        for split, images in index.groupby("split"):
            annotations = read_annotations(Path("data/annotations") / f"{split}.json")
            shards = [images[i : i + SHARD_IMAGES] for i in range(0, len(images), SHARD_IMAGES)]
            bar = tqdm(total=len(images), desc=f"masks {split}", unit="image", disable=None)
            for number, shard in enumerate(shards):
                with open_shard(folder, split, number, len(shards)) as writer:
                    for row in shard.itertuples():
                        record, sample, table = convert(row, annotations.get(row.image_id, []), categories, params)
                        writer.write(record)
                        samples.append(sample)
                        instances.append(table)
                        bar.update()
            bar.close()
    samples = pd.DataFrame(samples)
    instances = pd.concat(instances)
    schemas.write_parquet(ARTIFACTS / "samples.parquet", samples, schemas.samples_schema(categories))
    schemas.write_parquet(ARTIFACTS / "instances.parquet", instances, schemas.INSTANCES)
    write_json("metrics/masks.json", metrics(samples, categories))


def read_annotations(path: Path) -> dict[int, list[dict]]:
    grouped: dict[int, list[dict]] = {}
    for row in json.loads(path.read_bytes()):
        grouped.setdefault(row["image_id"], []).append(row)
    return grouped


def convert(row, annotations: list[dict], categories: pd.DataFrame, params: Params) -> tuple[bytes, dict, pd.DataFrame]:
    """One image: its TFRecord example, its row of samples and its rows of instances."""
    image = open_image(row.path)
    if image.size != (row.width, row.height):
        raise SegscopeError(f"image {row.path} is {image.size}, its annotations say {(row.width, row.height)}")
    table = instances_table(annotations, row.height, row.width)
    mask = compose_mask(table, row.height, row.width, params.masks.crowd)
    size = params.data.image_size
    record = example(
        {
            "image_id": row.image_id,
            "image": encode_png(resize_image(image, size)),
            "mask": encode_png(resize_mask(mask, size)),
        }
    )
    sample = {"image_id": row.image_id, "split": row.split, "width": row.width, "height": row.height}
    sample |= photography(image) | content(table, mask, categories)
    return record, sample, table.assign(image_id=row.image_id, split=row.split)


def metrics(samples: pd.DataFrame, categories: pd.DataFrame) -> dict[str, dict]:
    result = {}
    for split, rows in samples.groupby("split"):
        counts = rows[[f"count.{name}" for name in categories["name"]]].sum()
        shares = rows[[f"share.{name}" for name in categories["name"]]].mean()
        result[split] = {
            "images": len(rows),
            "instances": int(rows["n_instances"].sum()),
            "crowds": int(rows["n_crowds"].sum()),
            "grayscale_files": int(rows["is_grayscale_file"].sum()),
            "gray": int(rows["is_gray"].sum()),
            "low_light": int(rows["low_light"].sum()),
            "without_annotation": int((rows["n_instances"] + rows["n_crowds"] == 0).sum()),
            "count": {k.removeprefix("count."): int(v) for k, v in counts.items() if v},
            "pixel_share": {k.removeprefix("share."): float(v) for k, v in shares.items() if v},
        }
    return result


if __name__ == "__main__":
    stage.run(main)
