"""Parity with sentence_transformers.CrossEncoder: scores and ranks, in folders of both."""

import numpy as np
import pytest

from minibert import CrossEncoder
from tests.conftest import small_tokenizer
from tests.inference.test_cross_encoder import PAIRS, new_model

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning",
                               "ignore::UserWarning", "ignore::ResourceWarning"),
]  # fmt: skip
TOKENIZER = small_tokenizer()


@pytest.mark.parametrize(
    ("labels", "activation", "problem"),
    [
        (1, None, None),
        (1, "Identity", None),
        (1, None, "regression"),
        (3, None, None),
        (3, "Identity", None),
    ],
)
def test_scores_of_pairs_are_those_of_sentence_transformers(tmp_path, labels, activation, problem):
    peers = pytest.importorskip("sentence_transformers")
    from torch import nn

    model = new_model(TOKENIZER, labels, problem_type=problem)
    own = CrossEncoder(model, TOKENIZER, activation_fn=activation)
    own.save_pretrained(tmp_path / "own")
    peer = peers.CrossEncoder(str(tmp_path / "own"), device="cpu")
    is_share = (labels, activation, problem) == (1, None, None)
    assert type(peer.activation_fn) is (nn.Sigmoid if is_share else nn.Identity)
    for max_length in (None, 9):
        if max_length:
            peer.max_seq_length = max_length
        peer.save_pretrained(str(tmp_path / "peer"))
        again = CrossEncoder.from_pretrained(tmp_path / "peer")
        assert again.max_length == (max_length or 16)
        expected = peer.predict(PAIRS)
        np.testing.assert_allclose(again.predict(PAIRS), expected, rtol=1e-5, atol=1e-5)
        if not max_length:
            np.testing.assert_allclose(own.predict(PAIRS), expected, rtol=1e-5, atol=1e-5)
        if labels == 3:
            np.testing.assert_allclose(
                again.predict(PAIRS, apply_softmax=True),
                peer.predict(PAIRS, apply_softmax=True),
                rtol=1e-5,
                atol=1e-5,
            )
    if labels == 1:
        documents = ["a cat", "the tree", "dogs ran and ran", "red and big"]
        for options in ({}, {"top_k": 2, "return_documents": True}):
            mine, other = (each.rank("the cat", documents, **options) for each in (again, peer))
            assert [{**row, "score": 0} for row in mine] == [{**row, "score": 0} for row in other]
            scores = [[row["score"] for row in side] for side in (mine, other)]
            np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-5)
