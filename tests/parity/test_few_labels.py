"""Parity of classifiers from few labels: transformers opens their folders, with the same logits."""

import numpy as np
import pytest

from minibert import TextClassifier
from minibert.models.table import family_class
from tests.conftest import small_tokenizer

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
TEXTS = ["the cat sat", "a cat ran", "the dog sat on a mat", "a big tree", "the red tree", "it was"]
LABELS = ["pet", "pet", "pet", "tree", "tree", "it"]


@pytest.mark.parametrize("family", ["bert", "distilbert", "electra"])
def test_a_classifier_trained_on_pairs_has_the_logits_of_transformers(tmp_path, family):
    torch, peers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tokenizer = small_tokenizer()
    config = family_class(family, "Config").preset(
        "tiny", vocab_size=tokenizer.vocab_size, hidden_size=32, max_position_embeddings=16,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    family_class(family, "Model")(config).save_pretrained(tmp_path / "start")
    tokenizer.save_pretrained(tmp_path / "start")
    classifier = TextClassifier(tmp_path / "start", strategy="pairs", epochs=2, batch_size=4)
    classifier.fit(TEXTS, LABELS).save_pretrained(tmp_path / "few")
    peer = peers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "few").eval()
    assert peer.config.num_hidden_layers == config.num_hidden_layers + 1
    for text in TEXTS:
        ids = np.array([tokenizer.encode(text).input_ids])
        with torch.no_grad():
            expected = peer(torch.tensor(ids)).logits.numpy()
        mine = classifier.model_(ids).logits
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-4)
        name = peer.config.id2label[int(expected.argmax())]
        assert classifier.predict([text]).tolist() == [name]
