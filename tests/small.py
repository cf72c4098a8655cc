"""A small taxonomy: four categories of three super-categories, two of them classes."""

import pandas as pd

from segscope.taxonomy import Taxonomy

CATEGORIES = pd.DataFrame(
    {
        "category_id": [1, 3, 6, 18],
        "source_id": ["1", "3", "6", "18"],
        "name": ["person", "car", "bus", "dog"],
        "supercategory": ["person", "vehicle", "vehicle", "animal"],
    }
)
TAXONOMY = Taxonomy(CATEGORIES, {"person": ["person"], "car": ["car"]})
