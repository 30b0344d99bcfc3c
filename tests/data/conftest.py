"""Fixtures shared by the tests of the firewall."""

import pytest

from tests.data import textures as drawn


@pytest.fixture(scope="session")
def textures(make_pack):
    """A pack of images that have nothing in common."""
    return make_pack(*drawn.images())
