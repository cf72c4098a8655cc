"""What stands in for a training where the model is the user's: a network, or the encoder beside predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from segscope.artefacts.files import atomic_folder, atomic_path, sha256_of, write_json
from segscope.artefacts.measures import Measure, measure_table
from segscope.artefacts.records import Records
from segscope.artefacts.schemas import ROWS
from segscope.artefacts.tables import write_rows
from segscope.errors import SegscopeError
from segscope.model.adoption import adopt, read_network
from segscope.model.card import write_taken_card
from segscope.model.dataset import read_records
from segscope.model.layers import default_layers
from segscope.model.saving import save_model
from segscope.model.training import count_parameters
from segscope.params import Model
from segscope.run import Run

_LOOKED_AT = 8  # pictures by which it is known what a network gives


def take(run: Run, encoder: keras.Model, records: Records) -> None:
    """Write what a training would: model, card, measures, a history and other models of none. Arguments as below."""
    model, said = take_model(run.params.model, run.taxonomy.class_names, encoder, records)
    save_model(model, run.path("model"))
    parameters = count_parameters(model)
    with atomic_path(run.path("model_card")) as temporary:
        write_taken_card(temporary, run.taxonomy.classes, run.params.data.image_size, parameters, said)
    with atomic_folder(run.path("training")) as folder:
        write_rows(folder / "history.json", pd.DataFrame(columns=ROWS["history"].names))
    for name, none in (("repeat_models", "seeds"), ("folds", "folds")):
        with atomic_folder(run.path(name)) as folder:
            write_json(folder / f"{none}.json", {none: []})
    run.write_measures("train", measure_table(Measure(f"parameters.{kind}", n) for kind, n in parameters.items()))


def take_model(
    options: Model, classes: Sequence[str], encoder: keras.Model, records: Records
) -> tuple[keras.Model, dict[str, Any]]:
    """The network that the later stages look into, and what its card says of where it is from.

    classes: K, background first. records: of train. Raises SegscopeError if there is no such model, or it
    does not fit the params.
    """
    path = Path(options.path)
    outputs = {name: list(numbers) for name, numbers in (options.outputs or {}).items()} or None
    said: dict[str, Any] = {"source": options.source, "path": options.path, "outputs": outputs}
    if options.source == "predictions":
        if not path.is_dir():
            raise SegscopeError(f"model.path: {path} is no folder; it must hold a PNG or NPZ for each image")
        return encoder, said
    network = read_network(path)
    said |= {"sha256": sha256_of(path), "preprocessing": options.preprocessing, "input": list(network.input_shape[1:3])}
    size = encoder.input_shape[1]
    examples = read_records(records[:_LOOKED_AT], size).as_numpy_iterator()
    pictures = np.stack([picture for _, picture, _ in examples]).astype(np.float32)
    try:
        model = adopt(network, classes, options.outputs, options.preprocessing, pictures)
    except SegscopeError:
        raise
    except Exception as error:  # whatever a network of any making provokes in Keras and TensorFlow
        raise SegscopeError(f"model.path: {path} cannot be run on {pictures.shape[1:]} pictures: {error}") from error
    default_layers(model)
    return model, said
