"""Categories as exporters list them: roots that only group others, one name twice, other numbers in each file.

Of two categories of one name both mean the same. Tables of categories: category_id, source_id (text, the file's own),
name, supercategory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from segscope.errors import JOINERS, SegscopeError
from segscope.taxonomy import MARK

MAX_CATEGORY_ID = 254  # masks are 8 bits: 0 is background, 255 ignore
# What columns, masks and tables call pixels of no category; a category of such a name is told apart by MARK.
RESERVED = ("background", "unlabelled", "none")
SUPER = "super."  # before super-categories' names in columns


def clean(table: pd.DataFrame, annotated: Iterable[int], path: object) -> tuple[pd.DataFrame, pd.Series, list[str]]:
    """A file's categories under ids that fit a mask.

    table: number, source_id, name, supercategory (text or None), numbers distinct. annotated: the numbers that
    annotations name. Returns the categories, the category_id by number of those that have one, and what was changed.
    Raises SegscopeError if there are too many.
    """
    notes = []
    own = table.assign(name=table["name"].map(one_line), parent=table["supercategory"].fillna("").map(one_line))
    own["name"] = [name + MARK if name in RESERVED or name.startswith(SUPER) else name for name in own["name"]]
    for before, name in zip(table["name"].str.strip(), own["name"], strict=True):
        if before != name:
            why = "for its own name means something else here" if one_line(before) != name else "on one line"
            notes.append(f"{path}: category {before!r} is called {name!r}, {why}")
    own["parent"] = own["parent"].where(~own["parent"].isin(["", "none"]), own["name"])
    empty = ~own["number"].isin(set(annotated))
    groups = own.loc[own["parent"] != own["name"], "parent"]
    root = empty & (own["name"].isin(groups) | own["name"].isin(own.loc[~empty, "name"]))
    if root.any():
        notes.append(
            f"{path}: left out are categories without annotations that name others: {some(_labels(own[root]))}"
        )
    own = own[~root]
    same = own["name"].duplicated(keep=False)
    if same.any():
        notes.append(f"{path}: categories of one name are taken as one: {some(_labels(own[same]))}")
    distinct = own.drop_duplicates("name")
    if len(distinct) > MAX_CATEGORY_ID:
        used = distinct["name"].isin(own.loc[~empty, "name"])
        if used.sum() > MAX_CATEGORY_ID:
            raise SegscopeError(
                f"{path} has {used.sum()} categories with annotations; masks of 8 bits hold at most {MAX_CATEGORY_ID}: "
                "join some of them, or leave some out"
            )
        notes.append(f"{path}: of {len(distinct)} categories {(~used).sum()} without annotations are left out")
        distinct = distinct[used]
    fits = distinct["number"].between(1, MAX_CATEGORY_ID).all()
    distinct = distinct.assign(category_id=distinct["number"] if fits else range(1, len(distinct) + 1))
    id_of = own.set_index("number")["name"].map(distinct.set_index("name")["category_id"]).dropna().astype("int64")
    columns = {"category_id": "category_id", "source_id": "source_id", "name": "name", "parent": "supercategory"}
    return distinct[list(columns)].rename(columns=columns).astype({"category_id": "int64"}), id_of, notes


def unite(tables: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, pd.Series], list[str]]:
    """The categories of all splits by their names, of equal ones as the first split has them.

    tables: categories of each split. Returns them, the category_id of each split's category_id, and what differs.
    Raises SegscopeError if there are too many.
    """
    (first, whole), *others = tables.items()
    notes, maps = [], {first: whole.set_index("category_id")["name"]}
    for name, table in others:
        maps[name] = table.set_index("category_id")["name"]
        if table.reset_index(drop=True).equals(whole.reset_index(drop=True)):
            continue
        both = whole.merge(table, on="name", suffixes=("", "_other"))
        news = table[~table["name"].isin(whole["name"])]
        for label, odd in (
            (f"only {name} lists", news["name"]),
            (f"only {first} lists", whole.loc[~whole["name"].isin(table["name"]), "name"]),
            (
                f"{name} numbers otherwise, matched by name",
                both.loc[both["source_id"] != both["source_id_other"], "name"],
            ),
            (
                f"taken from {first} is the super-category of",
                both.loc[both["supercategory"] != both["supercategory_other"], "name"],
            ),
        ):
            if len(odd):
                notes.append(f"categories differ: {label}: {some(odd.tolist())}")
        if len(whole) + len(news) > MAX_CATEGORY_ID:
            raise SegscopeError(
                f"the splits have {len(whole) + len(news)} categories; masks of 8 bits hold at most {MAX_CATEGORY_ID}"
            )
        whole = pd.concat([whole, news.assign(category_id=_free(news["category_id"], whole["category_id"]))])
    id_of = whole.set_index("name")["category_id"]
    table = whole.astype({"category_id": "int64"}).sort_values("category_id", ignore_index=True)
    return table, {name: names.map(id_of) for name, names in maps.items()}, notes


def _free(wanted: pd.Series, taken: pd.Series) -> list[int]:
    """Ids that are not taken: the wanted ones where they are free, else the smallest."""
    known = {*taken, *wanted}
    others = (i for i in range(1, MAX_CATEGORY_ID + 1) if i not in known)
    return [next(others) if i in set(taken) else int(i) for i in wanted]


def _labels(table: pd.DataFrame) -> list[str]:
    return [f"{row.source_id} {row.name}" for row in table.itertuples(index=False)]


def one_line(name: str) -> str:
    """A name as pages and terminals can show it: without line breaks, and what else is not printed or turns text."""
    return " ".join("".join(c if c.isprintable() or c in JOINERS else " " for c in name).split())


def some(values: Sequence[Any], most: int = 5) -> str:
    """The first of them, and how many more there are."""
    return ", ".join(map(str, values[:most])) + (f" and {len(values) - most} more" if len(values) > most else "")
