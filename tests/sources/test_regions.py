import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as rle_api

from segscope.errors import SegscopeError
from segscope.sources import regions
from segscope.sources.regions import components, encode_regions


def test_what_touches_at_a_corner_is_one_component_and_values_are_apart():
    values = np.array([[5, 0, 9, 9], [0, 5, 0, 5], [0, 0, 0, 5]])
    numbers, kinds = components(values)
    assert numbers.tolist() == [[1, 0, 3, 3], [0, 1, 0, 2], [0, 0, 0, 2]]
    assert kinds == [5, 5, 9]


def test_a_map_of_nothing_has_no_components():
    numbers, kinds = components(np.zeros((2, 3), np.uint8))
    assert not numbers.any()
    assert kinds == []


@given(arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.integers(0, 3)))
def test_each_number_is_encoded_as_pycocotools_encodes_its_mask(numbers):
    encoded = encode_regions(numbers)
    assert encoded == {
        int(n): rle_api.encode(np.asfortranarray(numbers == n, np.uint8))["counts"].decode() for n in np.unique(numbers)
    }


def test_a_map_of_more_values_than_regions_may_be_is_refused_before_they_are_looked_for(monkeypatch):
    monkeypatch.setattr(regions, "MAX_REGIONS", 5)
    monkeypatch.setattr(regions.ndimage, "find_objects", None)
    with pytest.raises(SegscopeError, match="more than 5 regions"):
        components(np.arange(12).reshape(3, 4))
