"""Answers in texts of any length are those of their parts, merged."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import QuestionAnswerer
from minibert.inference.long_answers import answer_parts, overlapping_parts
from tests.inference.test_question_answering import TOKENIZER, new_model

TEXT = "it was the cat\nand then the dog on the mat and the hen by the sea . it was then "


@pytest.fixture(scope="module")
def answerer():
    return QuestionAnswerer(new_model(initializer_range=0.5), TOKENIZER)


@given(
    st.lists(st.text("aé😀 \n", max_size=40), max_size=12),
    st.integers(1, 6),
    st.integers(1, 20),
)
def test_parts_are_a_text_with_overlaps(pieces, shared, more):
    text, longest = "".join(pieces), 3 * shared + more
    parts = list(overlapping_parts(pieces, longest, shared))
    assert (parts[0][0], parts[-1][0] + len(parts[-1][1])) == (0, len(text))
    for offset, part in parts:
        assert text[offset : offset + len(part)] == part
        assert len(part) <= longest
    assert (len(parts) == 1) == (len(text) <= longest)
    for (offset, part), (following, _) in pairwise(parts):
        end = offset + len(part)
        assert shared <= end - following <= 2 * shared
        assert text[end].isspace() or not any(map(str.isspace, text[end : offset + longest + 1]))
        assert len(part) >= longest - shared
        assert (
            text[following].isspace() or len({*text[following : end - shared + 1]} & {*" \n"}) == 0
        )


@pytest.mark.parametrize("none", [False, True])
@pytest.mark.parametrize("top", [1, 4, 200])
def test_answers_of_parts_are_the_best_of_each(monkeypatch, answerer, top, none):
    text, options = TEXT * 6, {"handle_impossible_answer": none, "max_answer_len": 3}
    parts = list(overlapping_parts([text], longest=150, shared=40))
    assert len(parts) > 3
    scores, lowest = {}, 1.0
    for offset, part in parts:
        for found in answerer(["who"], [part], top_k=10_000, **options)[0]:
            if found.end:
                span = found.start + offset, found.end + offset
                scores[span] = max(scores.get(span, 0), found.score)
            else:
                lowest = min(lowest, found.score)
    if none:
        scores[0, 0] = lowest
    expected = sorted((-score, span) for span, score in scores.items())[:top]
    monkeypatch.setattr(
        "minibert.inference.long_answers.overlapping_parts", lambda pieces: iter(parts)
    )
    found = answer_parts(answerer, "who", [text], top_k=top, **options)
    assert [(-each.score, each[2:]) for each in found] == expected
    assert all(each.answer == text[each.start : each.end] for each in found)


def test_answers_in_a_text_below_the_limit_are_those_of_the_answerer(answerer):
    options = {"top_k": 9, "handle_impossible_answer": True}
    assert (
        answer_parts(answerer, "who", [TEXT, TEXT], **options)
        == (answerer(["who"], [TEXT * 2], **options)[0])
    )
    assert answer_parts(answerer, "who", [" \n", " "], **options) == []


def test_an_answer_at_a_cut_is_found(monkeypatch, answerer):
    """Each span of a few tokens is whole in a part."""
    text = TEXT * 3
    parts = list(overlapping_parts([text], longest=100, shared=30))
    ends = [offset + len(part) for offset, part in parts[:-1]]
    assert len(ends) > 1
    monkeypatch.setattr(
        "minibert.inference.long_answers.overlapping_parts", lambda pieces: iter(parts)
    )
    found = answer_parts(answerer, "who", [text], top_k=10_000, max_answer_len=2)
    for end in ends:
        assert any(each.start < end < each.end for each in found)


def test_blank_parts_are_left_out_and_memory_is_that_of_a_part(answerer, monkeypatch):
    held = []

    def pieces():
        for i in range(300):
            yield " " * 50 if i < 200 else "the cat was on the mat. "
            held.append(i)

    first, _ = next(overlapping_parts(pieces(), longest=1000, shared=100))
    assert first == 0
    assert len(held) == 20  # no more was read than the first part and one piece
    monkeypatch.setattr(
        "minibert.inference.long_answers.overlapping_parts",
        lambda pieces: overlapping_parts(pieces, longest=1000, shared=100),
    )
    (found,) = answer_parts(answerer, "who", pieces(), top_k=1)
    assert found.start >= 200 * 50
