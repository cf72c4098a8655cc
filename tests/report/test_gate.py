import pandas as pd
import pytest

from segscope.errors import SegscopeError
from segscope.report.compare import Comparison
from segscope.report.gate import Condition, condition, judge

NAMES = ["metric", "a", "b", "difference", "low", "high"]


def comparison(trainings: tuple[int, int] = (3, 3)) -> Comparison:
    rows = [
        ("iou.person", 0.5, 0.45, -0.05, -0.07, -0.03),
        ("mean_iou.traffic light", 0.3, 0.29, -0.01, -0.03, 0.01),
        ("iou.car", 0.2, 0.1, -0.1, float("nan"), float("nan")),
    ]
    nothing = pd.DataFrame()
    return Comparison(
        pd.DataFrame(rows, columns=NAMES), nothing, nothing, "loss", trainings, (9, 9, 9), 0, [], {}, True
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("iou.person < -0.02", ("iou.person", "<", -0.02)),
        ("loss>1e-3", ("loss", ">", 0.001)),
        ("  recall.traffic light <.5 ", ("recall.traffic light", "<", 0.5)),
        ("iou.a<b < +1", ("iou.a<b", "<", 1)),
    ],
)
def test_a_condition_is_read(text, expected):
    assert condition(text) == Condition(*expected)


@pytest.mark.parametrize("text", ["", "iou.person", "iou.person <= 0.1", "< 1", "iou.person < x", "iou.person = 1"])
def test_what_is_no_condition_is_said(text):
    with pytest.raises(SegscopeError, match="is no condition on the difference"):
        condition(text)


@pytest.mark.parametrize(
    ("fail_if", "fail_unless", "verdicts"),
    [
        (["iou.person < -0.02"], [], "failed"),
        (["iou.person < -0.04"], [], "passed"),
        (["mean_iou.traffic light < 0"], [], "passed"),
        ([], ["mean_iou.traffic light > -0.02"], "failed"),
        ([], ["mean_iou.traffic light > -0.04"], "passed"),
        (["iou.person < -0.02"], ["mean_iou.traffic light > -0.04"], "failed passed"),
        ([], [], ""),
    ],
)
def test_a_gate_is_of_the_whole_interval(fail_if, fail_unless, verdicts):
    lines, passed = judge(comparison(), *([condition(text) for text in texts] for texts in (fail_if, fail_unless)))
    assert " ".join(line.split(":")[0] for line in lines) == verdicts
    assert passed == ("failed" not in verdicts)


def test_a_line_says_which_and_by_how_much():
    lines, _ = judge(comparison(), [condition("iou.person < -0.02")], [condition("mean_iou.traffic light > -0.02")])
    assert lines == [
        "failed: iou.person < -0.02 is shown: 0.500 → 0.450, -0.0500 (-0.0700 to -0.0300)",
        "failed: mean_iou.traffic light > -0.02 is not shown: 0.300 → 0.290, -0.0100 (-0.0300 to +0.0100)",
    ]


@pytest.mark.parametrize(
    ("text", "trainings", "message"),
    [
        (
            "iou.bus < 0",
            (3, 3),
            "there is no such metric to compare by; choices: iou.person, mean_iou.traffic light, iou.car",
        ),
        ("iou.car < 0", (3, 3), "too few groups of images carry iou.car"),
        ("iou.person < 0", (1, 1), "two single trainings cannot tell a change from another seed; train a side with"),
    ],
)
def test_what_cannot_be_judged_is_an_error(text, trainings, message):
    with pytest.raises(SegscopeError, match=message):
        judge(comparison(trainings), [condition(text)], [])
