"""The two locks: what a user installs is what is tested, verified, from whatever index."""

import re

import pytest
from project import ROOT


def pins(lock: str) -> set[str]:
    """`name==version ; marker` of each."""
    return set(re.findall(r"^(\S+==.+?) *\\$", (ROOT / lock).read_text(), re.M))


def test_what_a_user_has_the_tests_have_in_the_same_version():
    assert pins("requirements.lock") < pins("requirements-dev.lock")


@pytest.mark.parametrize("package", ["pytest", "playwright", "hypothesis", "onnxruntime", "moto"])
def test_the_tests_packages_are_no_users(package):
    assert not any(pin.startswith(f"{package}==") for pin in pins("requirements.lock"))


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_package_has_a_hash_and_no_lock_names_an_index(lock):
    text = (ROOT / lock).read_text()
    packages = re.findall(r"^\S+==.*", text, re.M)
    assert packages
    assert len(re.findall(r"^\S+==.*\\\n    --hash=sha256:", text, re.M)) == len(packages)
    assert not re.search("://|--(extra-)?index-url|--find-links", text)
