"""Looking into the model for attention, part by part: a task for each TFRecord file, wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
from tqdm import tqdm

from segscope.artefacts.parallel import in_turn
from segscope.latent.attention import Attention, Under
from segscope.model.inference import Split, layer_batches
from segscope.model.source import Source


def attend(attention: Attention, source: Source, splits: Sequence[Split]) -> tuple[pd.DataFrame, Under]:
    """Rows of heatmaps.parquet, and what lies under the attention; on all cores, with a progress bar.

    splits: whose images the attention's are. Of a source without a network there is neither.
    """
    wanted = attention.image_ids
    tasks = [task for split in splits for task in split.among(wanted)] if source.network else []
    table, under = attention.of([])
    tables = [table]
    with tqdm(total=len(wanted), desc="attention", unit="image", disable=None) as bar:
        for n, (table, own) in in_turn(partial(_attend, attention, source), tasks):
            tables.append(table)
            under = Under(under.attention + own.attention, under.pixels + own.pixels)
            bar.update(n)
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(["cluster", "score"], ascending=[True, False], ignore_index=True), under


def _attend(attention: Attention, source: Source, split: Split) -> tuple[int, tuple[pd.DataFrame, Under]]:
    assert split.only is not None
    assert source.network
    return len(split.only), attention.of(layer_batches(source.network, attention.space.layers, split))
