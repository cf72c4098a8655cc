"""Which class a category, a category position or a mask value is of, and how they are called.

Letters: K classes (0 is background, then the variant's in order), C category positions (0 is unlabelled, then the
categories in order).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import product
from typing import NoReturn

import numpy as np
import pandas as pd

from segscope.errors import SegscopeError

# Mask values that are no category id.
BACKGROUND = 0
IGNORE = 255
UNLABELLED = "unlabelled"
MARK = " (category)"  # behind a category's name that is also what pixels of none are called
REFERENCE = "car"  # by whose class the other vehicles are measured


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """The classes of a variant over the categories of a dataset.

    categories: category_id, name, supercategory. classes: class → names of categories or super-categories, without
    background. key: what errors call the variant. What is derived raises SegscopeError if a name is unknown, or two
    classes claim one category; `check` does so at once.
    """

    categories: pd.DataFrame
    classes: Mapping[str, Sequence[str]]
    key: str = "variants"

    def check(self) -> None:
        """Raise SegscopeError if a class cannot be made of the categories."""
        _ = self.class_of_id

    @cached_property
    def class_names(self) -> list[str]:
        """The K classes."""
        return ["background", *self.classes]

    @cached_property
    def category_names(self) -> list[str]:
        """What the C category positions are called."""
        return [UNLABELLED, *self.categories["name"]]

    @cached_property
    def category_ids(self) -> dict[str, list[int]]:
        """The category ids of each class but background."""
        return {
            name: resolve_categories(of, self.categories, f"{self.key}.{name}") for name, of in self.classes.items()
        }

    @cached_property
    def class_of_id(self) -> np.ndarray:
        """Lookup table uint8[256]: mask value → class; 255 stays 255."""
        table = np.zeros(256, np.uint8)
        for number, (name, category_ids) in enumerate(self.category_ids.items(), start=1):
            for category_id in category_ids:
                if table[category_id] not in (0, number):
                    category = self.category_names[self.position_of_id[category_id]]
                    other = self.class_names[table[category_id]]
                    raise SegscopeError(f"{self.key}: category {category!r} belongs to two classes: {other} and {name}")
                table[category_id] = number
        table[IGNORE] = IGNORE
        return table

    @cached_property
    def position_of_id(self) -> np.ndarray:
        """Lookup table uint8[256]: mask value → category position; 255 stays 255."""
        table = np.zeros(256, np.uint8)
        table[self.categories["category_id"]] = np.arange(1, len(self.categories) + 1)
        table[IGNORE] = IGNORE
        return table

    @cached_property
    def class_of_position(self) -> np.ndarray:
        """Each category position's class, uint8[C]."""
        return self.class_of_id[[BACKGROUND, *self.categories["category_id"]]]

    @cached_property
    def yardsticks(self) -> dict[str, int]:
        """Category → the class that its recall is measured by, for each category that has one.

        It is the class that holds the category, or else the one that stands for its super-category: that which holds
        car, so that bus is measured by it in every variant; where none does, and in other super-categories, that which
        holds most of its categories, of equals the first.
        """
        own = pd.Series(self.class_of_position[1:], index=self.categories.index)
        held = own[own > 0].groupby(self.categories["supercategory"]).agg(lambda of: of.mode().iloc[0])
        for row in self.categories[(own > 0) & (self.categories["name"] == REFERENCE)].itertuples():
            held[row.supercategory] = own[row.Index]
        classes = own.where(own > 0, self.categories["supercategory"].map(held))
        return {name: int(k) for name, k in zip(self.categories["name"], classes, strict=True) if k > 0}


def resolve_categories(names: Iterable[str], categories: pd.DataFrame, key: str) -> list[int]:
    """Category ids of names, as `find_categories` finds them.

    key: the parameter that names them. Raises SegscopeError naming it, what is spelled alike, and what exists.
    """
    return [i for name in names for i in find_categories(name, categories) or _unknown(name, categories, key)]


def find_categories(name: str, categories: pd.DataFrame) -> list[int]:
    """Category ids of a category or a super-category (a category of that name goes first); none of an unknown name.

    Where nothing is called so, case and spaces at the ends do not count.
    """
    for loose, column in product((False, True), ("name", "supercategory")):
        there = categories[column].map(_loosely) if loose else categories[column]
        found = categories.loc[there == (_loosely(name) if loose else name), "category_id"].tolist()
        if found:
            return found
    return []


def _unknown(name: str, categories: pd.DataFrame, key: str) -> NoReturn:
    names, supers = categories["name"].tolist(), categories["supercategory"].unique().tolist()
    spelled = {_loosely(each): each for each in (*supers, *names)}
    near = [repr(spelled[each]) for each in get_close_matches(_loosely(name), spelled)]
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    raise SegscopeError(
        f"{key}: {name!r} is neither a category nor a super-category of the data{hint}; "
        f"categories: {', '.join(names)}; super-categories: {', '.join(supers)}"
    )


def _loosely(name: str) -> str:
    return name.removesuffix(MARK).strip().casefold()
