"""A training that is killed."""

import json
import subprocess
import sys
import time

from project import ENVIRONMENT, run


def test_a_killed_training_ends_as_an_undisturbed_one(finished, project):
    stage = (sys.executable, "stages/train.py")
    outputs = ("metrics/train.json", "artifacts/training/history.csv", "artifacts/model.keras", "artifacts/model.md")
    for path in outputs:
        (project / path).unlink()
    state = project / "artifacts" / "checkpoint" / "state.json"
    process = subprocess.Popen(stage, cwd=project, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    while not state.exists() or not json.loads(state.read_text())["history"]:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert "going on after epoch 1" in run(project, *stage)
    assert not state.parent.exists()
    for path in outputs:
        assert (project / path).read_bytes() == (finished / path).read_bytes(), path
