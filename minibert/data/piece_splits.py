"""Random splits of pieces: another tokenization of the same text at each step of training.

A vocabulary that is learned from a few texts contains many of their words whole. A new text has
other words, which consist of smaller pieces, and a new model has hardly read these. So a model that
is not pre-trained reads its texts with some pieces split into smaller ones, each time others.
Provilkov et al. (2020), section 3, do this for byte-pair encoding and Hiraoka (2022) for WordPiece.
Predictions use the tokenizer's own pieces.
"""

from collections.abc import Sequence

import numpy as np

from minibert.tokenization import PreTrainedTokenizer


class PieceSplitter:
    """Splits pieces at random into two pieces of the vocabulary.

    >>> from minibert import WordPieceTokenizer
    >>> special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    >>> tokenizer = WordPieceTokenizer([*special, "s", "##o", "##n", "so", "##on", "son"])
    >>> splitter, rng = PieceSplitter(tokenizer, 0.5), np.random.default_rng(1)
    >>> for _ in range(3):
    ...     ids, _ = splitter.split([2, 10, 3], room=2, rng=rng)
    ...     print(tokenizer.convert_ids_to_tokens(ids))
    ['[CLS]', 'son', '[SEP]']
    ['[CLS]', 'son', '[SEP]']
    ['[CLS]', 's', '##o', '##n', '[SEP]']

    Args:
        tokenizer: its vocabulary contains the pieces; special and added tokens are never split.
        probability: with which a piece is split, and then each of its two parts.

    Attributes:
        cuts: the pairs of ids into which a piece can be split, by its id; others have no pair.
    """

    def __init__(self, tokenizer: PreTrainedTokenizer, probability: float):
        self.probability = probability
        vocabulary = tokenizer.vocabulary
        ids, prefix = vocabulary.ids, vocabulary.prefix
        whole = {*tokenizer.all_special_ids, *(ids.get(t.content) for t in tokenizer.added_tokens)}
        self.cuts: dict[int, list[tuple[int, int]]] = {}
        for piece, i in ids.items():
            start = len(prefix) if piece.startswith(prefix) else 0
            cuts = [
                (ids[piece[:end]], ids[prefix + piece[end:]])
                for end in range(start + 1, len(piece))
                if piece[:end] in ids and prefix + piece[end:] in ids
            ]
            if cuts and i not in whole:
                self.cuts[i] = cuts

    def split(
        self, ids: Sequence[int], room: int, rng: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        """Return the ids (list of T' int) with pieces split, and where each was (T').

        Args:
            ids (T): token ids of one sequence.
            room: the largest number of additional tokens, T' - T.
            rng: random generator.
        """
        out, origins = [], []
        for origin, i in enumerate(ids):
            waiting = [i]
            while waiting:
                cuts = self.cuts.get(waiting[-1])
                if cuts and room > 0 and rng.random() < self.probability:
                    first, second = cuts[rng.integers(len(cuts))]
                    waiting[-1:] = second, first  # the first is the next
                    room -= 1
                else:
                    out.append(waiting.pop())
                    origins.append(origin)
        return out, origins

    def split_batch(
        self, batch: dict[str, np.ndarray], pad_id: int, longest: int, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return a batch (B, T') of the sequences of a batch (B, T), with pieces split.

        Args:
            batch: input_ids, token_type_ids and attention_mask (B, T), padded at the end.
            pad_id: the id of padding.
            longest: the largest number of tokens of a sequence; no token is lost.
            rng: random generator.
        """
        lengths = batch["attention_mask"].sum(axis=1)  # (B,)
        rows = [
            self.split(ids[:length].tolist(), longest - int(length), rng)
            for ids, length in zip(batch["input_ids"], lengths, strict=True)
        ]
        shape = len(rows), max(len(ids) for ids, _ in rows)  # (B, T')
        input_ids, types, mask = np.full(shape, pad_id), np.zeros(shape, int), np.zeros(shape, int)
        for i, (ids, origins) in enumerate(rows):
            input_ids[i, : len(ids)] = ids
            types[i, : len(ids)] = batch["token_type_ids"][i, origins]
            mask[i, : len(ids)] = 1
        return {"input_ids": input_ids, "token_type_ids": types, "attention_mask": mask}
