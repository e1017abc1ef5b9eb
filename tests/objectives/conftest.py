"""A tiny language of three sentences, packed."""

import pytest

from tests.objectives.language import packed_language


@pytest.fixture(scope="session")
def packed(tokenizer):
    return packed_language(tokenizer)
