from collections.abc import Iterator

import pytest

from tests.support.keyboard import Keyboard


@pytest.fixture
def terminal() -> Iterator[Keyboard]:
    with Keyboard(columns=100) as terminal:
        yield terminal
