"""Answers to questions: the most probable span of a text (Devlin et al., 2019, section 4.2).

A text that is longer than the model is cut into overlapping windows, each after the question. In a
window, softmaxes over [CLS] and the text's tokens give each token the probability that the answer
starts, or ends, there. The score of a span is the product of both:

    score(i, j) = start_i · end_j,    i ≤ j < i + max_answer_len

The score of no answer is that of [CLS], start_0 · end_0, in the window where it is lowest, because
one window with an answer is enough (section 4.3). These are the scores of the pipeline
"question-answering" of Hugging Face, but a span that two windows find has the higher of its scores
instead of their sum, so no score exceeds 1.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple, Self

import numpy as np

from minibert.data.ragged import RaggedSequences
from minibert.functional import softmax_forward
from minibert.inference.batched import map_sequences
from minibert.inference.windows import checked_stride, room_for_text
from minibert.models.auto import AutoModelForQuestionAnswering
from minibert.models.hub import pinned
from minibert.models.unpadded import logits_of, runs_unpadded
from minibert.tokenization import AutoTokenizer, Encoding, PreTrainedTokenizer
from minibert.tokenization.framing import sides_of
from minibert.typing import Array

MAX_LENGTH = 384  # tokens of a window, as in Devlin et al.'s code for SQuAD
STRIDE = 128  # tokens that two windows share, as there; less if a window has no room for it
MAX_ANSWER_LENGTH = 15  # tokens


class Answer(NamedTuple):
    """A span of a text, with Hugging Face's names.

    Attributes:
        answer: the span, `text[start:end]`; "" if there is no answer.
        score: its probability.
        start: position of its first character.
        end: position after its last character; 0, as `start`, if there is no answer.
    """

    answer: str
    score: float
    start: int
    end: int


class Window(NamedTuple):
    """A part of a text behind a question.

    Attributes:
        row: the number of the question.
        first: the position of the text's first token in the window.
        offsets (n, 2): start and end of the characters of the text's n tokens.
        words (n,): the number of the word of each of them.
    """

    row: int
    first: int
    offsets: Array
    words: Array


class QuestionAnswerer:
    """A model and a tokenizer that find answers in texts.

    Args:
        model: a model for question answering, of any family.
        tokenizer: the model's tokenizer.
        max_length: of a window in tokens; None: 384, or the model's positions if they are fewer.
        stride: the number of tokens that two windows share; None: 128, or one quarter of a window's
            text if that is less.

    Raises:
        ValueError: the length is out of range.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizer,
        *,
        max_length: int | None = None,
        stride: int | None = None,
    ):
        longest = model.config.longest
        self.model, self.tokenizer, self.stride = model, tokenizer, stride
        self.max_length = min(longest, MAX_LENGTH) if max_length is None else max_length
        if not 3 <= self.max_length <= longest:
            raise ValueError(f"max_length: expected 3 to {longest} tokens, got {max_length}")

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, revision: str | None = None, **options: Any
    ) -> Self:
        """Read model and tokenizer from a folder, or by a name on the hub.

        Args:
            folder, revision: as in `BertModel.from_pretrained`.
            options: as the class takes them.

        Raises:
            OSError, ValueError: as there, or the folder contains a model for another use.
        """
        folder = pinned(folder, revision)
        model = AutoModelForQuestionAnswering.from_pretrained(folder, strict=True)
        return cls(model, AutoTokenizer.from_pretrained(folder), **options)

    def __call__(
        self,
        questions: Sequence[str],
        contexts: Sequence[str],
        *,
        top_k: int = 1,
        max_answer_len: int = MAX_ANSWER_LENGTH,
        handle_impossible_answer: bool = False,
        threads: int | None = None,
        progress: bool = False,
    ) -> list[list[Answer]]:
        """Return the best answers to each question, the most probable first.

        Args:
            questions: S questions.
            contexts: the text for each of them.
            top_k: the number of different answers to each question, if there are as many.
            max_answer_len: of an answer in tokens, before it is extended to whole words.
            handle_impossible_answer: whether no answer is one of the answers, for a model that was
                trained with questions without an answer.
            threads: how many batches are computed at a time; None: one for each core.
            progress: show a progress bar.

        Raises:
            TypeError, ValueError: an argument is invalid, a text has no token, or a question leaves
                no room for one.
            FloatingPointError: a logit is not finite; the model's weights are broken.
        """
        for name, value in (("top_k", top_k), ("max_answer_len", max_answer_len)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        questions, contexts = sides_of(questions, contexts)
        windows: list[Window] = []
        sequences = RaggedSequences(
            encoding
            for row, both in enumerate(zip(questions, contexts, strict=True))
            for encoding in self._encode(row, *both, windows)
        )
        batches = map_sequences(
            self._logits,
            sequences,
            self.tokenizer.pad_token_id,
            padded=not runs_unpadded(self.model),
            threads=threads,
            title="reading",
            progress=progress,
        )
        found: list[dict[tuple[int, int], float]] = [{} for _ in questions]
        nulls = np.full(len(questions), np.inf)  # (S,) the lowest score of no answer
        with closing(batches):  # also after Ctrl-C, so that it holds no thread or limit
            for indices, results in batches:
                for index, logits in zip(indices, results, strict=True):
                    window = windows[index]
                    null, spans = _best_spans(logits, window, top_k, max_answer_len)
                    nulls[window.row] = min(nulls[window.row], null)
                    known = found[window.row]
                    for span, score in spans:
                        known[span] = max(score, known.get(span, 0.0))
        if handle_impossible_answer:
            for known, null in zip(found, nulls.tolist(), strict=True):
                known[0, 0] = null
        return [
            [_answer(context, *span, score) for span, score in _sorted(known)[:top_k]]
            for context, known in zip(contexts, found, strict=True)
        ]

    def _encode(
        self, row: int, question: str, context: str, windows: list[Window]
    ) -> list[Encoding]:
        """Return the encodings of a text's windows, and append a description of each."""
        asked = len(self.tokenizer.ids_of(question))
        room = room_for_text(self.tokenizer, self.max_length, pairs=True) - asked
        if room < 1:
            raise ValueError(
                f"questions[{row}]: expected fewer than {asked + room} tokens, so that a window of "
                f"{self.max_length} has room for the text, got {asked}"
            )
        stride = min(STRIDE, checked_stride(None, room)) if self.stride is None else self.stride
        encodings = self.tokenizer.encode_windows(
            question, context, max_length=self.max_length, truncation="only_second",
            stride=checked_stride(stride, room),
        )  # fmt: skip
        for encoding in encodings:
            inside = np.flatnonzero(np.equal(encoding.special_tokens_mask, 0))[asked:]
            if not len(inside):
                raise ValueError(f"contexts[{row}]: expected a text, got one without a token")
            first, end = int(inside[0]), int(inside[-1]) + 1
            offsets = np.array(encoding.offsets[first:end])
            windows.append(Window(row, first, offsets, np.array(encoding.word_ids[first:end])))
        return encodings

    def _logits(self, batches: Sequence[Mapping[str, Array]]) -> list[Array]:
        """Return the logits of each sequence of batches, (2, T) each."""
        return [row for logits in logits_of(self.model, batches) for row in logits]


def _best_spans(
    logits: Array, window: Window, top: int, longest: int
) -> tuple[float, list[tuple[tuple[int, int], float]]]:
    """Return the score of no answer, and the best spans of characters with their scores.

    Args:
        logits (2, T): of starts and of ends.
        window: where the text is in it.
        top: the number of spans.
        longest: of a span in tokens.

    Raises:
        FloatingPointError: a logit is not finite.
    """
    count = len(window.offsets)
    # [CLS] and the n tokens of the text: (2, T) -> (2, 1 + n)
    asked = np.concatenate([logits[:, :1], logits[:, window.first : window.first + count]], axis=1)
    if not np.isfinite(asked).all():
        raise FloatingPointError("a logit is not finite: the model's weights are broken")
    (start, end), _ = softmax_forward(asked.astype(float))
    null = float(start[0] * end[0])
    padded = np.concatenate([end[1:], np.zeros(longest)])
    ends = np.arange(count)[:, None] + np.arange(longest)  # (n, longest)
    scores = start[1:, None] * padded[ends]  # (n, longest); 0 beyond the text
    spans: dict[tuple[int, int], float] = {}
    # Several spans of tokens may be parts of the same words, of which the best one counts.
    for place in np.argsort(-scores, axis=None, kind="stable").tolist():
        i, length = divmod(place, longest)
        if i + length < count:
            spans.setdefault(_whole_words(window, i, i + length), float(scores[i, length]))
        if len(spans) == top:
            break
    return null, [*spans.items()]


def _whole_words(window: Window, first: int, last: int) -> tuple[int, int]:
    """Return the span of characters of the words of tokens `first` to `last`."""
    words = window.words
    begin = int(np.argmax(words == words[first]))
    end = len(words) - 1 - int(np.argmax(words[::-1] == words[last]))
    return int(window.offsets[begin, 0]), int(window.offsets[end, 1])


def _sorted(known: Mapping[tuple[int, int], float]) -> list[tuple[tuple[int, int], float]]:
    """Return spans with their scores, the highest first; of equals, the one that starts first."""
    return sorted(known.items(), key=lambda item: (-item[1], item[0]))


def _answer(text: str, start: int, end: int, score: float) -> Answer:
    """Return the answer of a span without the white space around it."""
    span = text[start:end]
    start += len(span) - len(span.lstrip())
    span = span.strip()
    return Answer(span, score, start, start + len(span))
