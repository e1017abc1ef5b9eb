"""Ctrl-C while results are collected: BLAS is restored although the traceback is kept."""

import pytest

from minibert import (
    BertConfig,
    BertForQuestionAnswering,
    BertForTokenClassification,
    QuestionAnswerer,
)
from minibert.inference import question_answering
from minibert.runtime.blas import _shared_limit
from minibert.tasks import TaggingTask, tagging

SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 16,
}


def answer(tokenizer, config):
    model = BertForQuestionAnswering(config)
    QuestionAnswerer(model, tokenizer)(["the cat"] * 9, ["a dog ran"] * 9, threads=1)


def tag(tokenizer, config):
    model = BertForTokenClassification(config)
    texts = [["the", "cat"]] * 9
    TaggingTask(["O", "B-X"]).predict(model, tokenizer, texts, threads=1)


@pytest.mark.parametrize(("work", "module"), [(answer, question_answering), (tag, tagging)])
def test_ctrl_c_between_two_batches_restores_blas_while_its_traceback_is_kept(
    tokenizer, monkeypatch, work, module
):
    """An interactive session keeps the last traceback, and with it the frames."""

    def interrupted(*iterables, **options):
        if _shared_limit.users:
            reached.append(iterables)
            raise KeyboardInterrupt
        return zip(*iterables, **options)  # noqa: B905  as the options say

    reached = []
    monkeypatch.setattr(module, "zip", interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt) as kept:
        work(tokenizer, BertConfig(vocab_size=len(tokenizer), id2label={0: "O", 1: "B-X"}, **SIZES))
    assert reached
    assert kept.tb
    assert not _shared_limit.users
