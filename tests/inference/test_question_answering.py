"""Answers to questions: the spans, windows, no answer, and a model that learns to answer."""

import numpy as np
import pytest

from minibert import BertConfig, BertForQuestionAnswering, QuestionAnswerer
from minibert.models.families.roberta import RobertaConfig, RobertaForQuestionAnswering
from minibert.optim import AdamW
from minibert.tokenization import ByteLevelBPETokenizer, WordPieceTokenizer

WHO, WHERE, FILL = ["cat", "dog", "hen", "fox"], ["mat", "tree", "sea", "sky"], "it was then and ."
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WHO, *WHERE, *FILL.split(), "who", "where"]
PIECES += ["un", "##real", "##ist"]
TOKENIZER = WordPieceTokenizer(PIECES)
POSITIONS = 24
LEARNED = 12  # positions of the model that is trained


def new_model(seed=0, positions=POSITIONS, layers=2, **fields):
    config = BertConfig(
        vocab_size=len(TOKENIZER), hidden_size=32, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=positions, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, **fields,
    )  # fmt: skip
    return BertForQuestionAnswering(config, seed=seed)


def texts_with_answers(rng, count, words):
    """Return texts, each with one animal and one place, and the animals and places."""
    rows = []
    for _ in range(count):
        who, where = rng.choice(WHO), rng.choice(WHERE)
        text = list(rng.choice(FILL.split(), words))
        i, j = rng.choice(words, 2, replace=False)
        text[i], text[j] = who, where
        rows.append((" ".join(text), who, where))
    return rows


@pytest.fixture(scope="module")
def trained():
    """Return a model that learned in a few steps who and where is in a text; [CLS] is neither."""
    model, rng = new_model(0, LEARNED, 1, initializer_range=0.2), np.random.default_rng(0)
    adam = AdamW(model.params, weight_decay=0.0)
    for step in range(80):
        rows = texts_with_answers(rng, 16, 8)
        asked = rng.integers(0, 2, 16)
        texts = [text for text, *_ in rows]
        for i in range(0, 16, 4):  # without an answer
            name = rows[i][1 + asked[i]]
            texts[i] = texts[i].replace(name, "and")
        batch = TOKENIZER.encode_batch([("who", "where")[one] for one in asked], texts)
        wanted = [row[1 + one] for row, one in zip(rows, asked, strict=True)]
        ids = np.array(TOKENIZER.convert_tokens_to_ids(wanted))[:, None]
        places = (batch["input_ids"] == ids).argmax(axis=1)  # 0, [CLS], without an answer
        labels = {"start_positions": places, "end_positions": places}
        loss, grads = model.loss_and_grads(batch, labels)
        adam.update(grads.vector, 5e-3 * min((step + 1) / 10, 1))
    assert loss < 0.2
    return QuestionAnswerer(model, TOKENIZER)


def test_a_trained_model_answers_questions_over_windows(trained):
    rows = texts_with_answers(np.random.default_rng(1), 8, 8)
    rows += texts_with_answers(np.random.default_rng(2), 8, 40)  # five windows or more
    for question, column in (("who", 1), ("where", 2)):
        found = trained([question] * 16, [text for text, *_ in rows])
        for (text, *names), (best,) in zip(rows, found, strict=True):
            assert best.answer == names[column - 1]
            assert text[best.start : best.end] == best.answer
            assert 0.5 < best.score <= 1


def test_no_answer_is_chosen_where_there_is_none(trained):
    ((text, who, _),) = texts_with_answers(np.random.default_rng(3), 1, 60)
    without = text.replace(who, "and")
    options = {"handle_impossible_answer": True}
    (found,), (none,) = trained(["who"] * 2, [text, without], **options)
    assert found.answer == who
    assert none[:1] == ("",)
    assert none[2:] == (0, 0)
    assert none.score > 0.5
    ((anyway,),) = trained(["who"], [without])
    assert anyway.answer


def plain_answers(model, question, context, *, length, stride, longest, top, impossible=False):
    """Return the answers, found by trying all spans of each window alone."""
    found, null = {}, np.inf
    windows = TOKENIZER.encode_windows(
        question, context, max_length=length, stride=stride, truncation="only_second"
    )
    for window in windows:
        out = model([window.input_ids], [window.token_type_ids])
        inside = [i for i, kind in enumerate(window.token_type_ids)
                  if kind == 1 and not window.special_tokens_mask[i]]  # fmt: skip
        sides = []
        for logits in (out.start_logits[0], out.end_logits[0]):
            shares = np.exp(logits[[0, *inside]].astype(float))
            sides.append(dict(zip([0, *inside], shares / shares.sum(), strict=True)))
        null = min(null, sides[0][0] * sides[1][0])
        spans = []
        for i in inside:
            for j in range(i, min(i + longest, inside[-1] + 1)):
                words = window.word_ids
                first = next(k for k in inside if words[k] == words[i])
                last = next(k for k in inside[::-1] if words[k] == words[j])
                span = window.offsets[first][0], window.offsets[last][1]
                spans.append((sides[0][i] * sides[1][j], span))
        for score, span in sorted(spans, key=lambda each: -each[0])[:top]:
            found[span] = max(score, found.get(span, 0))
    if impossible:
        found[0, 0] = null
    best = sorted(found.items(), key=lambda each: -each[1])[:top]
    return len(windows), [(context[a:b], score, a, b) for (a, b), score in best]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("length", [12, POSITIONS])
def test_answers_are_those_of_all_spans_of_all_windows(seed, length):
    model = new_model(seed, initializer_range=0.7)
    context = "it was  unrealist then, and the cat . " * 3
    options = {"top": 3, "longest": 4, "length": length, "stride": 3}
    count, expected = plain_answers(model, "who", context, **options, impossible=True)
    assert count > 1
    answerer = QuestionAnswerer(model, TOKENIZER, max_length=length, stride=3)
    (answers,) = answerer(
        ["who"], [context], top_k=3, max_answer_len=4, handle_impossible_answer=True
    )
    assert [(one.answer, one.start, one.end) for one in answers] == [
        (answer, start, end) for answer, _, start, end in expected
    ]
    np.testing.assert_allclose([one.score for one in answers], [one[1] for one in expected], 1e-4)
    again = answerer(["who"], [context], top_k=3, max_answer_len=4, threads=3)
    assert again == answerer(["who"], [context], top_k=3, max_answer_len=4, threads=1)


def test_as_many_different_answers_are_found_as_there_are():
    """Spans of tokens that are extended to the same words are one answer."""
    answerer = QuestionAnswerer(new_model(initializer_range=0.7), TOKENIZER)
    for count in range(1, 8):
        (answers,) = answerer(["who"], ["unrealist cat unrealist"], top_k=count)
        assert len({(one.start, one.end) for one in answers}) == min(count, 6)


def test_answers_do_not_begin_with_the_space_of_a_byte_level_token(tmp_path):
    """A family without token types, whose tokens may begin with a blank."""
    text = "the cat sat on the mat and the dog ran"
    tokenizer = ByteLevelBPETokenizer.train([text] * 9, 270)
    tokenizer = ByteLevelBPETokenizer(tokenizer.vocabulary, tokenizer.merges, trim_offsets=False)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=20, initializer_range=0.5,
    )  # fmt: skip
    tokenizer.save_pretrained(tmp_path)
    RobertaForQuestionAnswering(config).save_pretrained(tmp_path)
    answerer = QuestionAnswerer.from_pretrained(tmp_path)
    (answers,) = answerer(["the cat"], [text], top_k=9)
    assert len(answers) == 9
    for answer in answers:
        assert answer.answer == text[answer.start : answer.end] == answer.answer.strip()
        assert answer.answer


def test_question_answerer_refuses_bad_input(tmp_path):
    answerer = QuestionAnswerer(new_model(), TOKENIZER)
    for arguments, message in [
        ((["who " * 21], ["it"]), r"questions\[0\]: expected fewer than 21 tokens"),
        ((["who"], ["  "]), r"contexts\[0\]: expected a text, got one without a token"),
        ((["who"], ["it", "was"]), "pairs: expected 1"),
        (("who", ["it"]), "texts: expected several, got one string"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            answerer(*arguments)
    for name in ("top_k", "max_answer_len"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            answerer(["who"], ["it"], **{name: 0})
    for length in (2, POSITIONS + 1):
        with pytest.raises(ValueError, match="max_length: expected 3 to 24 tokens"):
            QuestionAnswerer(new_model(), TOKENIZER, max_length=length)
    with pytest.raises(ValueError, match="stride: expected at least 0 and less than 20"):
        QuestionAnswerer(new_model(), TOKENIZER, stride=20)(["who"], ["it was"])
    broken = new_model()
    broken.params["qa_outputs.bias"][:] = np.nan
    with pytest.raises(FloatingPointError, match="a logit is not finite"):
        QuestionAnswerer(broken, TOKENIZER)(["who"], ["it was"])
    TOKENIZER.save_pretrained(tmp_path)
    from minibert import BertForMaskedLM

    BertForMaskedLM(new_model().config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks 2 arrays of BertForQuestionAnswering"):
        QuestionAnswerer.from_pretrained(tmp_path)
