"""Hypothesis strategies to check layers and tokenizers of your own, and models of many shapes.

A layer is checked with many parameters and inputs instead of one example:

>>> from hypothesis import given, settings
>>> from minibert.gradcheck import check_layer
>>> class Gate:
...     def specs(self):
...         return {"weight": (4,)}
...     def forward(self, params, x):
...         return x * params["weight"], x
...     def backward(self, dout, x, params, grads):
...         grads["weight"][:] += (dout * x).sum(axis=0)
...         return dout * params["weight"]
>>> @settings(max_examples=20, deadline=None)
... @given(float_arrays((3, 4), varied=True), parameters(Gate().specs()))
... def gradients_are_right(x, params):
...     check_layer(Gate(), {"x": x}, params)
>>> gradients_are_right()

`texts` and `vocabularies` do the same for a tokenizer:

>>> from minibert import WordPieceTokenizer
>>> @settings(max_examples=20, deadline=None)
... @given(vocabularies(), texts())
... def every_token_has_offsets_in_the_text(vocabulary, text):
...     encoding = WordPieceTokenizer(vocabulary).encode(text)
...     for token, (start, end) in zip(encoding.tokens, encoding.offsets):
...         assert 0 <= start <= end <= len(text), token
>>> every_token_has_offsets_in_the_text()

Hypothesis shrinks a failing example to the smallest that fails. ReLU has a kink at 0, where finite
differences are not the slope: use a smooth `hidden_act`, or inputs away from 0. This module needs
`hypothesis`, which no other module of the package imports.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import DTypeLike

from minibert.gradcheck import away_from_initial
from minibert.models.config import ACTIVATIONS, POSITIONS, BertConfig, require_int
from minibert.parameters import Parameters

__all__ = ["batches", "configs", "float_arrays", "parameters", "texts", "vocabularies"]

LARGEST = 2**16  # times 256 is 2²⁴, up to which float32 represents every integer


def float_arrays(
    shape: tuple[int, ...],
    *,
    largest: float = 3,
    dtype: DTypeLike = np.float64,
    varied: bool = False,
) -> st.SearchStrategy[np.ndarray]:
    """Draw arrays of multiples of 2⁻⁸, which are easy to read in a failing example.

    >>> from hypothesis import find
    >>> find(float_arrays((2, 3)), lambda x: x.sum() >= 1).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]

    Args:
        shape: the arrays' shape.
        largest: the largest absolute value.
        dtype: float32 or float64.
        varied: draw no constant array, about which `minibert.gradcheck` warns.

    Raises:
        ValueError: an argument is out of range, or every such array is constant.
    """
    if np.dtype(dtype).kind != "f":
        raise ValueError(f"dtype: expected float32 or float64, got {np.dtype(dtype)}")
    if not 0 <= largest <= LARGEST:
        raise ValueError(f"largest: expected a number from 0 to {LARGEST:,}, got {largest}")
    bound = int(largest * 256)
    if varied and (np.prod(shape) < 2 or not bound):
        raise ValueError(
            f"varied: arrays of the shape {shape} and of multiples of 1/256 up to {largest} "
            "are all equal"
        )
    elements = st.integers(-bound, bound)
    # Without a fill value, each element is drawn and shrunk separately.
    whole = st_numpy.arrays(np.int64, shape, elements=elements, fill=st.nothing())
    drawn = whole.map(lambda array: np.asarray(array / 256, dtype))
    return drawn.filter(lambda array: np.ptp(array) > 0) if varied else drawn


def configs(**fixed: Any) -> st.SearchStrategy[BertConfig]:
    """Draw small configurations; they shrink to one block, one head and four units.

    >>> from hypothesis import find
    >>> find(configs(), lambda config: config.num_attention_heads > 1).hidden_size
    8

    Given fields restrict the drawn ones: the number of heads divides the hidden size, and the
    vocabulary contains the padding id.

    >>> find(configs(num_attention_heads=3, pad_token_id=7), lambda config: True).hidden_size
    12

    Args:
        fixed: fields of `BertConfig` that are given instead of drawn.

    Raises:
        ValueError: a given field is out of range.
    """
    for name in ("hidden_size", "num_attention_heads"):
        require_int(name, fixed.get(name, 1), at_least=1)
    require_int("pad_token_id", fixed.get("pad_token_id", 0), at_least=0)
    # The output of a layer norm narrower than four hardly depends on its input; sinusoids need an
    # even width.
    heads, head_width = st.sampled_from([1, 2, 3]), st.sampled_from([4, 6])
    if "num_attention_heads" in fixed:
        heads = st.just(fixed["num_attention_heads"])
    elif "hidden_size" in fixed:
        heads = heads.filter(lambda number: fixed["hidden_size"] % number == 0)
    sizes = st.tuples(heads, head_width).map(
        lambda pair: {"num_attention_heads": pair[0], "hidden_size": pair[0] * pair[1]}
    )
    positions = ("absolute",) if fixed.get("hidden_size", 0) % 2 else POSITIONS
    fewest = 5 + fixed.get("pad_token_id", 0)
    rates = st.sampled_from([0.0, 0.1, 0.5])
    drawn = {
        "vocab_size": st.integers(fewest, fewest + 15),
        "num_hidden_layers": st.integers(1, 2),
        "intermediate_size": st.integers(2, 9),
        "hidden_act": st.sampled_from(ACTIVATIONS),
        "hidden_dropout_prob": rates,
        "attention_probs_dropout_prob": rates,
        "classifier_dropout": st.none() | rates,
        "max_position_embeddings": st.integers(2, 8),
        "type_vocab_size": st.integers(1, 3),
        "position_embedding_type": st.sampled_from(positions),
        "id2label": st.integers(2, 4).map(lambda n: {i: f"class {i}" for i in range(n)}),
    }
    others = st.fixed_dictionaries({k: v for k, v in drawn.items() if k not in fixed})
    return st.builds(lambda sizes, rest: BertConfig(**{**sizes, **rest, **fixed}), sizes, others)


@st.composite
def batches(
    draw: st.DrawFn, config: BertConfig, *, max_batch: int = 3, max_length: int = 6
) -> dict[str, np.ndarray]:
    """Draw batches for a model, padded on the right; ids may repeat.

    >>> from hypothesis import find
    >>> batch = find(batches(BertConfig()), lambda batch: batch["attention_mask"].min() == 0)
    >>> {name: array.tolist() for name, array in batch.items()}
    {'input_ids': [[0, 0]], 'token_type_ids': [[0, 0]], 'attention_mask': [[1, 0]]}

    Args:
        draw: given by Hypothesis.
        config: bounds the ids, the segments and the length.
        max_batch: the largest B.
        max_length: the largest T.

    Returns:
        `input_ids`, `token_type_ids` and `attention_mask` (B, T); every sequence has a token.
    """
    require_int("max_batch", max_batch, at_least=1)
    require_int("max_length", max_length, at_least=1)
    B = draw(st.integers(1, max_batch))
    T = draw(st.integers(1, min(max_length, config.max_position_embeddings)))
    padded = st_numpy.arrays(np.int64, B, elements=st.integers(0, T - 1))
    mask = (np.arange(T) < T - draw(padded)[:, None]).astype(np.int64)  # (B, T)
    ids = st_numpy.arrays(np.int64, (B, T), elements=st.integers(0, config.vocab_size - 1))
    types = st_numpy.arrays(np.int64, (B, T), elements=st.integers(0, config.type_vocab_size - 1))
    return {
        "input_ids": np.where(mask, draw(ids), config.pad_token_id),
        "token_type_ids": draw(types) * mask,
        "attention_mask": mask,
    }


def parameters(
    specs: Mapping[str, Any], *, dtype: DTypeLike = np.float64
) -> st.SearchStrategy[Parameters]:
    """Draw parameters away from initial values: a 0 or a 1 hides a wrong gradient.

    Args:
        specs: the declaration of a layer or a model, as its `specs()` returns it; shapes by name;
            or parameters of the same layout.
        dtype: float64 to check gradients, float32 to run.
    """
    layout = specs if isinstance(specs, Parameters) else Parameters(specs)
    return st.integers(0, 2**16).map(lambda seed: away_from_initial(layout, seed).astype(dtype))


# Texts that have broken tokenizers: characters that become longer, shorter or empty when they are
# normalized, white space and characters that resemble it, grapheme clusters of several code points,
# and code points that are not characters.
HOSTILE = (
    "", " ", "\t", "\n", "\r\n", "\x00", "\x1f", "\x7f", "\x85", "\xa0", "\xad", "\u200b", "\u200d",
    "\u2028", "\u3000", "\ufeff", "\ufffd", "\uffff", "\U0010ffff", "\u0301", "e\u0301", "é", "İ",
    "ß", "ﬁ", "Ǆ", "\u212b", "한", "\u1112\u1161\u11ab",
    "中文", "ไทย", "\u202eabc", "👩‍🔬", "🇫🇮", "❤️", "½", "٣",
    "don't", "...", "$5", "a_b", "[MASK]", "[CLS]", "[mask]", "##s", "[UNK", "-100", "a" * 101,
)  # fmt: skip


def texts(*, max_size: int = 12) -> st.SearchStrategy[str]:
    r"""Draw texts: words, white space, and Unicode that has broken tokenizers.

    Lone surrogates are left out, because UTF-8 cannot encode them.

    >>> from hypothesis import find
    >>> find(texts(), lambda text: "½" in text)
    '½'

    Args:
        max_size: the largest number of parts; a part has at most 101 characters.
    """
    letters = st.characters(exclude_categories=["Cs"])
    part = st.one_of(
        st.text("0ab ", max_size=4), st.text(letters, max_size=4), st.sampled_from(HOSTILE)
    )
    return st.lists(part, max_size=max_size).map("".join)


@st.composite
def vocabularies(draw: st.DrawFn, *, max_size: int = 20) -> list[str]:
    """Draw WordPiece vocabularies: the special tokens, then distinct pieces, some with ##.

    >>> from hypothesis import find
    >>> find(vocabularies(), lambda pieces: any(piece.startswith("##") for piece in pieces))
    ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '##a']

    Args:
        draw: given by Hypothesis.
        max_size: the largest number of pieces, not counting special tokens.
    """
    letters = "abcé中.!'"
    piece = st.builds(
        lambda prefix, body: prefix + body,
        st.sampled_from(["", "##"]),
        st.text(letters, min_size=1, max_size=4),
    )
    pieces = draw(st.lists(piece, max_size=max_size, unique=True))
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
