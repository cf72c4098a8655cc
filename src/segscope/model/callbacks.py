"""What happens after each epoch of a training: checkpoint and log."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
from dvclive import Live
from tqdm import tqdm

from segscope.artefacts.files import atomic_path
from segscope.errors import reading
from segscope.model.history import best_row, epoch_row, holds_out, split_of
from segscope.quiet import detail

Logs = Mapping[str, Any] | None


class Checkpoint(keras.callbacks.Callback):
    """Keeps the history, the last and the best weights in a folder after every epoch, and stops in time.

    Keras's BackupAndRestore and EarlyStopping do not keep the history, nor the best epoch, over a restart.

    history: one row an epoch. The best epoch is that of `best_row`; where images are held out to decide by, training
    stops `patience` epochs later. What is in the folder belongs to `fingerprint`; of another training, it is removed.
    """

    def __init__(self, folder: Path, fingerprint: str, patience: int):
        super().__init__()
        self._folder, self.fingerprint, self._patience = folder, fingerprint, patience
        self.history: list[dict[str, float]] = self._read()
        if not self.history:
            self.remove()

    def _read(self) -> list[dict[str, float]]:
        try:
            state = json.loads((self._folder / "state.json").read_text(encoding="utf-8"))
            own = state["fingerprint"] == self.fingerprint and self._weights(len(state["history"])).exists()
            return state["history"] if own else []
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return []

    @property
    def finished(self) -> bool:
        """Whether no epoch was better for `patience` epochs."""
        return holds_out(self.history) and len(self.history) - self.best_epoch() >= self._patience

    def resume(self, model: keras.Model) -> int:
        """Load the last epoch's weights and those of the built optimizer; returns the number of epochs done."""
        if self.history:
            self._load(len(self.history), [*model.variables, *model.optimizer.variables])
        return len(self.history)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        row = epoch_row(epoch + 1, float(self.model.optimizer.learning_rate), logs or {})
        self.history.append(row)
        if not np.isfinite(row["objective"]):
            return
        # Not as HDF5: what writes that ends the process where the disk is full.
        with atomic_path(self._weights(epoch + 1)) as temporary:
            np.savez(temporary, *[each.numpy() for each in (*self.model.variables, *self.model.optimizer.variables)])
        # The state names the weights, so it is written after them, and the weights it named are removed after it.
        with atomic_path(self._folder / "state.json") as temporary:
            temporary.write_text(json.dumps({"fingerprint": self.fingerprint, "history": self.history}))
        for file in set(self._folder.glob("epoch-*.npz")) - {self._weights(n) for n in (epoch + 1, self.best_epoch())}:
            file.unlink(missing_ok=True)  # a cluster may have given the training of a lost worker to another
        self.model.stop_training = self.finished

    def best_epoch(self) -> int:
        """The number of the best epoch, from 1."""
        return int(best_row(self.history)["epoch"])

    def restore_best(self, model: keras.Model) -> None:
        """Load the best epoch's weights."""
        self._load(self.best_epoch(), model.variables)

    def _load(self, epoch: int, variables: Sequence[keras.Variable]) -> None:
        """Give the variables the values of an epoch's file, which may hold more."""
        path = self._weights(epoch)
        with reading(path, f"remove {self._folder} to train from the start"), np.load(path) as arrays:
            for number, variable in enumerate(variables):
                variable.assign(arrays[f"arr_{number}"])

    def remove(self) -> None:
        """Forget everything; what else is in the folder stays."""
        for name in ("state.json", "epoch-*.npz", ".state.json.partial*", ".epoch-*.npz.partial*"):
            for file in self._folder.glob(name):
                file.unlink()
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _weights(self, epoch: int) -> Path:
        return self._folder / f"epoch-{epoch:04d}.npz"


class Held(keras.callbacks.Callback):
    """Measures the model on images that are held out to decide by, after every epoch.

    batches: as `model.fit` takes them. To come before all who look at an epoch's numbers.
    """

    def __init__(self, batches: Any):
        super().__init__()
        self._batches = batches

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        found = self.model.evaluate(self._batches, verbose=0, return_dict=True)
        cast(dict, logs).update({f"held_{name}": value for name, value in found.items()})


class LiveLog(keras.callbacks.Callback):
    """Writes each epoch's numbers with DVCLive, those of a resumed training's earlier epochs first."""

    def __init__(self, folder: Path, checkpoint: Checkpoint):
        super().__init__()
        self._folder, self._checkpoint = folder, checkpoint

    def on_train_begin(self, logs: Logs = None) -> None:
        self._live = Live(str(self._folder), report=None, save_dvc_exp=False, dvcyaml=None)
        for row in self._checkpoint.history:
            self._log(row)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._log(self._checkpoint.history[-1])

    def _log(self, row: Mapping[str, float]) -> None:
        for key, value in row.items():
            if key == "learning_rate":
                self._live.log_metric(key, value)
            elif key != "epoch":
                self._live.log_metric("/".join(split_of(key)), value)
        self._live.next_step()

    def on_train_end(self, logs: Logs = None) -> None:
        self._live.end()


class Progress(keras.callbacks.Callback):
    """On a terminal a bar over the training's batches; for those who want to see all each epoch's numbers.

    By the names of the history: Keras's own would call the objective loss.
    """

    def __init__(self, title: str, checkpoint: Checkpoint):
        super().__init__()
        self._title, self._checkpoint = title, checkpoint

    def on_train_begin(self, logs: Logs = None) -> None:
        done, steps, epochs = len(self._checkpoint.history), self.params["steps"], self.params["epochs"]
        self._bar = tqdm(total=steps * epochs, initial=steps * done, desc=self._title, unit="batch", disable=None)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        row = self._checkpoint.history[-1]
        self._bar.set_postfix(epoch=epoch + 1, objective=row["objective"], val=row["val_objective"])
        numbers = (f"{key} {value:.4g}" for key, value in row.items() if key != "epoch")
        detail(f"{self._title}: epoch {epoch + 1} of {self.params['epochs']}: {', '.join(numbers)}")

    def on_train_end(self, logs: Logs = None) -> None:
        self._bar.close()
