"""One method for each kind of head."""

import pytest

from clis_core.methods.build import build_method
from tests.methods.small import HEADS, small_config, small_detector


@pytest.fixture(params=HEADS)
def method(request):
    return build_method(small_config(), small_detector(**HEADS[request.param])).train()
