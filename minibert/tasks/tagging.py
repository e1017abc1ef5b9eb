"""Word tagging: each word of a text has a tag, which may mark entities."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Self

import numpy as np

from minibert.data.ragged import RaggedSequences
from minibert.data.word_alignment import word_spans, word_windows
from minibert.functional import IGNORED, softmax_forward
from minibert.inference.batched import map_sequences
from minibert.inference.windows import checked_stride, room_for_text
from minibert.io.text import printable
from minibert.models import BertForTokenClassification
from minibert.models.unpadded import logits_of, runs_unpadded
from minibert.tasks.base import (
    MAX_NAMES,
    Mistake,
    PlacePredictions,
    Task,
    TokenizedExamples,
    json_line,
    require_finite,
    sorted_names,
)
from minibert.tasks.baselines import most_frequent_tags
from minibert.tasks.entities import (
    OUTSIDE,
    entity_metrics,
    find_entities,
    marks_entities,
    stray_tags,
)
from minibert.tasks.examples import Examples
from minibert.tasks.metrics import ClassificationMetrics, Metrics
from minibert.tokenization import Encoding, PreTrainedTokenizer


class TaggingTask(Task):
    """Tagging: each word has a tag; outputs are S arrays of probabilities (W, C).

    A word's label is at its first token, the other tokens have none (Devlin et al., 2019, section
    5.3). A text that is too long is cut between words into windows, so every word has a tag. In
    `predict` they overlap, and a word's tag is from the window with the most context.
    """

    name = "tagging"
    model_class = BertForTokenClassification
    problem_type = None
    input_kind = "words"
    new_model_size = "tiny"  # one layer of 64 learns tags less well; docs/recipe.md has the figures

    @classmethod
    def from_labels(cls, labels: Sequence[Sequence[str]]) -> Self:
        """Return the task with the labels' tags, O first, then in alphabetical order."""
        names = sorted_names((tag for tags in labels for tag in tags), "tags")
        return cls(sorted(names, key=lambda tag: tag != OUTSIDE))

    @classmethod
    def parse(cls, label: Any) -> list[str]:
        """Return the raw label, a list of tags; see `Task.parse`."""
        if not isinstance(label, list):
            raise ValueError(f"expected a list of tags, one for each word, got {label!r:.80}")
        return label

    @classmethod
    def names_in(cls, label: Sequence[str]) -> Sequence[str]:
        """Return the tags of a text's words."""
        return label

    def scoring_notes(self) -> list[str]:
        """Return why words are scored instead of entities, or which tags count as O."""
        are_marks = marks_entities(self.names)
        found = [tag for tag in self.names if tag != OUTSIDE]
        found = stray_tags(found) if are_marks else found
        shown = ", ".join(map(repr, found[:MAX_NAMES])) + ", ..." * (len(found) > MAX_NAMES)
        if not found:
            return []
        if are_marks:
            return [f"entities are scored; these tags mark none and count as O: {shown}"]
        return [
            "words are scored, not entities, because most tags do not mark entities as O, B-PER "
            f"and I-PER do: {shown}"
        ]

    def encode_label(self, label: Sequence[str]) -> np.ndarray:
        """Return the id of each word's tag (W,)."""
        return np.array([self._id(tag) for tag in label], int)

    def decode_outputs(self, outputs: Sequence[np.ndarray]) -> list[list[str]]:
        """Return the most probable tag of each word of each text."""
        return [[self.names[i] for i in words.argmax(axis=-1)] for words in outputs]

    def format_text(
        self,
        texts: Sequence[Sequence[str]],
        outputs: Sequence[np.ndarray],
        pairs: Sequence[str] | None = None,
        *,
        top: int | None = None,
    ) -> Iterator[str]:
        """Yield a line for each word and its tag, as in CoNLL files; a blank line ends a text."""
        if top is not None:
            self.most_probable(outputs, top)  # which refuses it
        for words, tags in zip(texts, self.decode_outputs(outputs), strict=True):
            for word, tag in zip(words, tags, strict=True):
                yield f"{printable(word)}\t{printable(tag)}"
            yield ""

    def format_json(
        self,
        texts: Sequence[Sequence[str]],
        outputs: Sequence[np.ndarray],
        pairs: Sequence[str] | None = None,
        *,
        top: int | None = None,
        lines: Sequence[str] | None = None,
    ) -> Iterator[str]:
        """Yield a line of JSON for each text: text, words, tags, and the entities that tags mark.

        Args:
            texts: S lists of words.
            outputs: those of `predict`.
            pairs, top: None.
            lines: the S texts that the words are from; None: the words, joined with blanks.

        Raises:
            ValueError: `top` is given.
        """
        if top is not None:
            self.most_probable(outputs, top)  # which refuses it
        lines = [" ".join(words) for words in texts] if lines is None else lines
        rows = zip(lines, texts, self.decode_outputs(outputs), outputs, strict=True)
        for line, words, tags, probabilities in rows:
            fields: dict[str, Any] = {"text": line, "words": list(words), "tags": tags}
            if marks_entities(self.names):
                fields["entities"] = entity_fields(line, words, tags, probabilities)
            yield json_line(fields)

    def metrics(self, labels: Sequence[Sequence[str]], outputs: Sequence[np.ndarray]) -> Metrics:
        """Return the metrics of entities, or of single tags if the tags mark no entities."""
        predicted = self.decode_outputs(outputs)
        if marks_entities(self.names):
            return entity_metrics(labels, predicted)
        wide = self.widened(labels)
        sides = [np.concatenate([*map(wide.encode_label, side)]) for side in (labels, predicted)]
        return ClassificationMetrics.from_ids(wide.names, *sides)

    def mistakes(
        self,
        texts: Sequence[Sequence[str]],
        labels: Sequence[Sequence[str]],
        outputs: Sequence[np.ndarray],
    ) -> Iterator[Mistake]:
        """Yield each word with a wrong tag, between asterisks in its text."""
        rows = zip(texts, labels, self.decode_outputs(outputs), outputs, strict=True)
        for words, tags, predicted, probabilities in rows:
            for i, word in enumerate(words):
                if predicted[i] != tags[i]:
                    text = " ".join([*words[:i], f"*{word}*", *words[i + 1 :]])
                    yield Mistake(float(probabilities[i].max()), tags[i], predicted[i], text)

    def tokenize_examples(
        self, tokenizer: PreTrainedTokenizer, examples: Examples, max_length: int
    ) -> TokenizedExamples:
        """Return the windows' token ids, with labels (B, T) at each word's first token."""
        parts = []

        def encode_windows() -> Iterator[Encoding]:
            labels = map(self.encode_label, examples.labels)
            for words, tags in zip(examples.texts, labels, strict=True):
                for encoding, first, places in word_windows(tokenizer, words, max_length):
                    part = np.full(len(encoding.input_ids), IGNORED)
                    part[places[places > 0]] = tags[first : first + len(places)][places > 0]
                    parts.append(part)
                    yield encoding

        sequences = RaggedSequences(encode_windows())
        flat = np.concatenate(parts)
        return TokenizedExamples(sequences, lambda indices: sequences.stack(flat, indices, IGNORED))

    def count_truncated(
        self,
        tokenizer: PreTrainedTokenizer,
        texts: Sequence[Any],
        pairs: Sequence[str] | None,
        max_length: int,
    ) -> int:
        """Return 0: a long text is cut into windows, and no word is lost."""
        return 0

    def predict(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizer,
        texts: Sequence[Sequence[str]],
        pairs: Sequence[str] | None = None,
        *,
        stride: int | None = None,
        truncate: bool = False,
        long: list[int] | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> list[np.ndarray]:
        """Return the tags' probabilities for the words of each text: S arrays (W, C).

        Args:
            model, tokenizer, texts, long, threads, progress: as in `Task.predict`.
            pairs: None.
            stride: the number of tokens that two windows of a long text share; None: one quarter.
                Of two windows, a word's tag is from the one with more tokens between the word and
                the nearer cut.
            truncate: False, because every word has a tag.

        Raises:
            FloatingPointError: a logit is not finite.
            ValueError: the stride is out of range, or `truncate` is true.
        """
        if truncate:
            raise ValueError("truncate: expected false for tags, because every word has one")
        longest = model.config.longest
        stride = checked_stride(stride, room_for_text(tokenizer, longest))
        windows = []  # (text, index of its first word, each word's place and context)

        def encode_windows() -> Iterator[Encoding]:
            for text, words in enumerate(texts):
                for encoding, first, places in word_windows(tokenizer, words, longest, stride):
                    is_cut = first > 0, first + len(places) < len(words)
                    context = _context(places, len(encoding.input_ids), *is_cut)
                    windows.append((text, first, places, context))
                    yield encoding

        def probabilities_of(batches: Sequence[Mapping[str, np.ndarray]]) -> list[np.ndarray]:
            found = []
            for logits in logits_of(model, batches):
                require_finite(logits)  # here, because the softmax of minus infinity is finite
                found += [*softmax_forward(logits)[0]]  # B arrays (T, C)
            return found

        # A word without a token, a control character for example, is tagged O with certainty.
        outside = np.eye(len(self.names))[self.ids.get(OUTSIDE, 0)]
        outputs = [np.tile(outside, (len(words), 1)) for words in texts]
        best = [np.full(len(words), -1.0) for words in texts]  # the context of each word's tag
        sequences = RaggedSequences(encode_windows())
        if long is not None:
            owners = np.array([text for text, *_ in windows], int)  # (W,)
            long.extend(np.flatnonzero(np.bincount(owners) > 1).tolist())
        results: list[Any] = [None] * len(sequences)
        batches = map_sequences(
            probabilities_of,
            sequences,
            tokenizer.pad_token_id,
            padded=not runs_unpadded(model),
            threads=threads,
            progress=progress,
        )
        with closing(batches):  # also after Ctrl-C, so that it holds no thread or limit
            for indices, found in batches:
                for index, probabilities in zip(indices, found, strict=True):
                    results[index] = probabilities
        for (text, first, places, context), probabilities in zip(windows, results, strict=True):
            words = first + np.arange(len(places))
            better = (places > 0) & (context > best[text][words])  # of equals, the first one
            outputs[text][words[better]] = probabilities[places[better]]
            best[text][words[better]] = context[better]
        return outputs

    def baseline(self, examples: Examples, held_out: Examples) -> tuple[str, Metrics] | None:
        """Predict each word's most frequent tag; see `Task.baseline`."""
        one_hot = np.eye(len(self.names))
        tags = most_frequent_tags(examples, held_out)
        outputs = [one_hot[self.encode_label(each)] for each in tags]
        return "each word's commonest tag", self.metrics(held_out.labels, outputs)

    def describe_logits(self, tokens: Sequence[str], logits: np.ndarray) -> PlacePredictions:
        """Return the most probable tag of each token between [CLS] and [SEP]."""
        probabilities = softmax_forward(logits[1:-1].copy())[0]  # (T - 2, C)
        best = probabilities.argmax(axis=-1)
        return [
            (token, [(self.names[i], float(row[i]))])
            for token, row, i in zip(tokens[1:-1], probabilities, best, strict=True)
        ]

    def select_score(self, logits: np.ndarray, label: str | None) -> tuple[str, np.ndarray]:
        """Return the sum of a tag's scores over the tokens, and its gradient (T, C)."""
        gradient = np.zeros_like(logits)
        inner = slice(1, -1)  # without [CLS] and [SEP]
        if label is not None:
            gradient[inner, self.require_name(label)] = 1
            return f"{label!r}, summed over the tokens", gradient
        best = logits[inner].argmax(axis=-1)[:, None]  # (T - 2, 1)
        np.put_along_axis(gradient[inner], best, 1, axis=-1)
        return "each token's likeliest class", gradient


def entity_fields(
    line: str, words: Sequence[str], tags: Sequence[str], probabilities: np.ndarray
) -> list[dict[str, Any]]:
    """Return the entities of a text with the fields of Hugging Face's pipeline (list of dict).

    `start` and `end` are positions of characters, `word` is `line[start:end]`, and `score` is the
    mean over the words of the probability of their tag, which is that of a word's first token: the
    pipeline's aggregation "first".

    >>> entity_fields("Ann Lee left", ["Ann", "Lee", "left"], ["B-PER", "I-PER", "O"],
    ...               np.array([[0.5, 0.25], [0.25, 1.0], [0.75, 0.25]]))
    [{'entity_group': 'PER', 'word': 'Ann Lee', 'start': 0, 'end': 7, 'score': 0.75}]

    Args:
        line: the text.
        words: its W words.
        tags: their tags.
        probabilities (W, C): of each word's tags.
    """
    spans, scores = word_spans(line, words), probabilities.max(axis=-1)
    found = []
    for kind, first, end in find_entities(tags):
        start, stop = spans[first][0], spans[end - 1][1]
        found.append({
            "entity_group": kind,
            "word": line[start:stop],
            "start": start,
            "end": stop,
            "score": round(float(scores[first:end].mean()), 5),
        })  # fmt: skip
    return found


def _context(places: np.ndarray, length: int, cut_left: bool, cut_right: bool) -> np.ndarray:
    """Return the number of tokens between each word and the nearer cut of its window (W,).

    Args:
        places (W,): the place of each word's first token.
        length: of the window in tokens.
        cut_left, cut_right: whether the text continues beyond the window.
    """
    left = places if cut_left else np.inf
    right = length - 1 - places if cut_right else np.inf
    nearer: np.ndarray = np.minimum(left, right) + np.zeros(len(places))
    return nearer
