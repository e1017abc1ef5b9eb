"""Folders that are written for sentence-transformers: the same vectors when they are read."""

import numpy as np
import pytest

from minibert import BertConfig, BertModel, FeatureExtractor
from minibert.inference.sentence_writer import save_sentence_folder
from minibert.models.hub import read_modules
from tests.inference.test_sentence_folders import TEXTS, tokenizer_of

CHOICES = [
    {},
    {"pooling": "cls", "normalize": True},
    {"pooling": ["cls", "max", "mean"], "max_length": 7},
    {"prompt": "the Red cat: ", "normalize": True},
    {"prompt": "the Red cat: ", "include_prompt": False},
]


def extractor_of(**options):
    tokenizer = tokenizer_of()
    config = BertConfig.preset(
        "tiny", vocab_size=len(tokenizer), max_position_embeddings=16, hidden_size=12,
        num_attention_heads=3, intermediate_size=20, initializer_range=0.3,
    )  # fmt: skip
    return FeatureExtractor(BertModel(config, seed=2), tokenizer, **options)


@pytest.mark.parametrize("options", CHOICES)
def test_a_written_folder_gives_the_same_vectors(options, tmp_path):
    extractor = extractor_of(**options)
    save_sentence_folder(extractor, tmp_path / "folder")
    again = FeatureExtractor.from_pretrained(tmp_path / "folder")
    assert (again(TEXTS) == extractor(TEXTS)).all()
    for name in ("max_length", "normalize", "prompt", "skipped"):
        assert getattr(again, name) == getattr(extractor, name), name
    kinds = [each.kind for each in read_modules(tmp_path / "folder")]
    assert kinds == ["Transformer", "Pooling", *["Normalize"] * extractor.normalize]


def test_a_folder_is_written_again_with_other_options(tmp_path):
    save_sentence_folder(extractor_of(normalize=True, prompt="a "), tmp_path)
    other = extractor_of(pooling="cls")
    save_sentence_folder(other, tmp_path)
    assert (FeatureExtractor.from_pretrained(tmp_path)(TEXTS) == other(TEXTS)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": -2}, "layers: expected the last one, 2"),
        ({"pooling": "pooler"}, "pooling: expected some of cls, max"),
        ({"pooling": ["mean", "cls"]}, "in this order, got mean, cls"),
        ({"projections": [np.tanh]}, "projections: expected none, got 1"),
    ],
)
def test_options_without_a_module_are_refused_before_anything_is_written(
    options, message, tmp_path
):
    with pytest.raises(ValueError, match=message):
        save_sentence_folder(extractor_of(**options), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", CHOICES)
def test_sentence_transformers_opens_a_written_folder_with_the_same_vectors(options, tmp_path):
    from sentence_transformers import SentenceTransformer

    extractor = extractor_of(**options)
    save_sentence_folder(extractor, tmp_path)
    peer = SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
    np.testing.assert_allclose(extractor(TEXTS), peer.encode(TEXTS), atol=1e-5)
    assert peer.max_seq_length == extractor.max_length
