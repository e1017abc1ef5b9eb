"""The baseline of masked language modelling: predictions from token counts alone."""

import numpy as np

from minibert.data.corpus import PackedSequences
from minibert.functional import IGNORED
from minibert.objectives.evaluation import MaskedLMMetrics
from minibert.tokenization import PreTrainedTokenizer
from minibert.typing import Array


def count_tokens(rows: PackedSequences | Array, tokenizer: PreTrainedTokenizer) -> Array:
    """Count the occurrences (V,) of each token in packed sequences.

    Args:
        rows (S, T): packed sequences of token ids.
        tokenizer: its special tokens count 0.
    """
    known = rows.counts if isinstance(rows, PackedSequences) else None
    if known is None:
        everything = np.asarray(rows[np.arange(len(rows))]).reshape(-1)
        known = np.bincount(everything, minlength=len(tokenizer))
    counts = known.copy()
    counts[tokenizer.all_special_ids] = 0
    return counts


def unigram_baseline(
    counts: Array, labels: Array, tokenizer: PreTrainedTokenizer
) -> MaskedLMMetrics:
    """Measure the model that predicts every token by its frequency alone.

    Its loss is the cross-entropy of the labels under the counts, with 1 added to each count. Its
    accuracy is that of always predicting the most frequent token.

    Args:
        counts (V,): occurrences of the tokens, as `count_tokens` returns them.
        labels (S, T): -100 where no token is masked.
        tokenizer: its special tokens are never predicted.
    """
    targets = labels[labels != IGNORED]
    counts = counts + 1
    counts[tokenizer.all_special_ids] = 0
    loss = -np.log(counts[targets] / counts.sum()).mean()
    return MaskedLMMetrics(float(loss), float((targets == counts.argmax()).mean()))
