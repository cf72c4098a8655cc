"""Looking into the model for attention, part by part: a task for each TFRecord file, wherever it runs."""

from __future__ import annotations

from functools import partial

import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from segscope.artefacts.parallel import in_turn
from segscope.artefacts.records import Records
from segscope.latent.attention import Attention, Under
from segscope.model.inference import layer_batches
from segscope.model.source import Source


def attend(attention: Attention, source: Source, records: Records) -> tuple[pd.DataFrame, Under]:
    """Rows of heatmaps.parquet, and what lies under the attention; on all cores, with a progress bar.

    records: of at least the attention's images. Of a source without a network there is neither.
    """
    wanted = attention.image_ids
    tasks = records.of(wanted).by_file() if source.network else []
    table, under = attention.of([])
    tables = [table]
    with tqdm(total=len(wanted), desc="attention", unit="image", disable=None) as bar:
        for n, (table, own) in in_turn(partial(_attend, attention, source), tasks):
            tables.append(table)
            under = Under(*(before + more for before, more in zip(under, own, strict=True)))
            bar.update(n)
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(["cluster", "score"], ascending=[True, False], ignore_index=True), under


def _attend(attention: Attention, source: Source, records: Records) -> tuple[int, tuple[pd.DataFrame, Under]]:
    assert source.network
    with threadpool_limits(1):  # several threads for each image's small products would wait for the network's
        return len(records), attention.of(layer_batches(source.network, attention.space.layers, records))
