"""The options of a new model and of a pre-trained one: each is applied or refused."""

import pytest

from minibert import BertConfig, BertModel, TextClassifier, TextRegressor, TokenTagger
from minibert.tasks import Examples, SingleLabelTask
from minibert.training.finetuning import ModelSource


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, tokenizer):
    """Return the folder of a model with 24 positions (path)."""
    folder = tmp_path_factory.mktemp("pretrained")
    config = BertConfig.preset(
        "tiny", vocab_size=len(tokenizer), hidden_size=16, max_position_embeddings=24
    )
    tokenizer.save_pretrained(folder)
    BertModel(config).save_pretrained(folder)
    return folder


LONG = ["the cat " * 12 + end for end in ("sat", "ran")] * 4


@pytest.mark.parametrize("kind", [TextClassifier, TextRegressor, TokenTagger])
def test_max_length_cuts_the_texts_of_a_pretrained_model(pretrained, kind):
    texts = [text.split() for text in LONG] if kind is TokenTagger else LONG
    labels = [["O"] * 24 + [tag] for tag in "AB"] * 4 if kind is TokenTagger else [0, 1] * 4
    whole, cut = (
        kind(pretrained, epochs=1, max_length=length, threads=1).fit(texts, labels)
        for length in (None, 10)
    )
    assert whole.model_.config.max_position_embeddings == 24
    assert cut.model_.config.max_position_embeddings == 10
    assert len(cut.predict(texts)) == len(texts)
    if kind is TextRegressor:  # texts that differ after 10 tokens only
        beginnings = cut.task_.predict(cut.model_, cut.tokenizer_, LONG[:2], truncate=True)
        assert len(set(beginnings.tolist())) == 1
        assert len(set(cut.predict(LONG[:2]).tolist())) == 2  # over windows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 25}, "max_length: expected 3 to 24 tokens, .* got 25"),
        ({"max_length": 2}, "max_length: expected 3 to 24 tokens, .* got 2"),
        ({"size": "mini"}, "size: leave it out; the model in .* determines it"),
        ({"size": "tiny"}, "size: leave it out; the model in .* determines it"),
    ],
)
def test_options_that_do_not_fit_a_pretrained_model_are_refused(pretrained, options, message):
    with pytest.raises(ValueError, match=message):
        TextClassifier(pretrained, epochs=1, **options).fit(LONG, [0, 1] * 4)


@pytest.mark.parametrize(
    "options", [{"size": "tiny"}, {"tokenizer": "x"}, {"config": {"hidden_act": "relu"}}]
)
def test_a_pretrained_source_takes_no_options_of_a_new_model(pretrained, options):
    task = SingleLabelTask(["a", "b"])
    examples = Examples(["a cat", "a dog"], None, ["a", "b"])
    with pytest.raises(ValueError, match=r"leave it out; the model in .* determines it"):
        ModelSource(pretrained, **options).load(task, examples, 0)


@pytest.mark.parametrize(
    ("options", "width", "positions"),
    [({}, 64, 64), ({"size": "mini"}, 256, 64), ({"max_length": 9}, 64, 9)],
)
def test_size_and_max_length_are_those_of_a_new_model(options, width, positions):
    texts = ["a cat", "a dog"] * 4
    config = TextClassifier(epochs=1, threads=1, **options).fit(texts, [0, 1] * 4).model_.config
    assert (config.hidden_size, config.max_position_embeddings) == (width, positions)
