import pandas as pd

from segscope.artefacts.schemas import SKIPPED
from segscope.artefacts.skipped import count_skipped, skip, skipped_table, summary
from segscope.artefacts.tables import write_parquet

ROWS = [skip("malformed", "images[3]"), skip("malformed", "images[4]"), skip("excluded", "why", 2**40, 7, "a.jpg")]


def test_rows_become_a_table_with_ids_that_may_be_unknown(tmp_path):
    table = skipped_table(ROWS)
    assert table["image_id"].isna().tolist() == [True, True, False]
    assert table.loc[2, ["image_id", "annotation_id", "file_name"]].tolist() == [2**40, 7, "a.jpg"]
    write_parquet(tmp_path / "skipped.parquet", table.assign(split="val"), SKIPPED)
    write_parquet(tmp_path / "none.parquet", skipped_table([]).assign(split=""), SKIPPED)


def test_what_was_left_out_is_counted_and_said_in_a_line():
    assert count_skipped(skipped_table(ROWS)) == {"excluded": 1, "malformed": 2}
    assert summary(skipped_table(ROWS), "skipped.parquet") == "left out: 1 excluded, 2 malformed; see skipped.parquet"
    assert summary(pd.DataFrame(skipped_table([])), "skipped.parquet") is None
