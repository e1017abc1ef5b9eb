"""Hypothesis strategies, to prove layers of your own and to try models of many shapes.

A layer is proven for any parameters and any input, not for the one example that came to mind:

>>> from hypothesis import given, settings
>>> from minibert.gradcheck import check_layer
>>> class Gate:
...     def shapes(self):
...         return {"weight": (4,)}
...     def forward(self, params, x):
...         return x * params["weight"], x
...     def backward(self, dout, x, params, grads):
...         grads["weight"][:] += (dout * x).sum(axis=0)
...         return dout * params["weight"]
>>> @settings(max_examples=20, deadline=None)
... @given(float_arrays((3, 4), varied=True), parameters(Gate().shapes()))
... def prove(x, params):
...     check_layer(Gate(), {"x": x}, params)
>>> prove()

`texts` and `vocabularies` do the same for what reads text:

>>> from minibert import WordPieceTokenizer
>>> @settings(max_examples=20, deadline=None)
... @given(vocabularies(), texts())
... def every_token_stands_where_it_came_from(vocabulary, text):
...     encoding = WordPieceTokenizer(vocabulary).encode(text)
...     for token, (start, end) in zip(encoding.tokens, encoding.offsets):
...         assert 0 <= start <= end <= len(text), token
>>> every_token_stands_where_it_came_from()

A failing case shrinks to the smallest that still fails. ReLU has a kink at 0, where no difference
is a slope: keep `hidden_act` smooth, or the inputs away from it. Needs `hypothesis`, which nothing
else in this package imports.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import DTypeLike

from minibert.gradcheck import away_from_initial
from minibert.models.config import ACTIVATIONS, POSITIONS, BertConfig, require_int
from minibert.parameters import Parameters, Shapes

__all__ = ["batches", "configs", "float_arrays", "parameters", "texts", "vocabularies"]

LARGEST = 2**16  # times 256 is 2²⁴, up to which float32 knows every whole number


def float_arrays(
    shape: tuple[int, ...],
    *,
    largest: float = 3,
    dtype: DTypeLike = np.float64,
    varied: bool = False,
) -> st.SearchStrategy[np.ndarray]:
    """Arrays of ordinary numbers, multiples of 2⁻⁸ so that a failing one is easy to read.

    >>> from hypothesis import find
    >>> find(float_arrays((2, 3)), lambda x: x.sum() >= 1).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]

    Args:
        shape: of the arrays.
        largest: no number is further from 0.
        dtype: float32 or float64.
        varied: never all numbers alike, as `minibert.gradcheck` likes its inputs.

    Raises:
        ValueError: there is no such array.
    """
    if np.dtype(dtype).kind != "f":
        raise ValueError(f"dtype: expected float32 or float64, got {np.dtype(dtype)}")
    if not 0 <= largest <= LARGEST:
        raise ValueError(f"largest: expected a number from 0 to {LARGEST:,}, got {largest}")
    bound = int(largest * 256)
    if varied and (np.prod(shape) < 2 or not bound):
        raise ValueError(
            f"varied: arrays of the shape {shape} and of multiples of 1/256 up to {largest} "
            "are all alike"
        )
    elements = st.integers(-bound, bound)
    # Without a fill, every number is drawn, and shrinks, by itself.
    whole = st_numpy.arrays(np.int64, shape, elements=elements, fill=st.nothing())
    drawn = whole.map(lambda array: np.asarray(array / 256, dtype))
    return drawn.filter(lambda array: np.ptp(array) > 0) if varied else drawn


def configs(**fixed: Any) -> st.SearchStrategy[BertConfig]:
    """Small configurations of every kind; they shrink to one block, one head and four units.

    >>> from hypothesis import find
    >>> find(configs(), lambda config: config.num_attention_heads > 1).hidden_size
    8

    What is given bounds what is drawn: heads that share the width, ids that the vocabulary holds.

    >>> find(configs(num_attention_heads=3, pad_token_id=7), lambda config: True).hidden_size
    12

    Args:
        fixed: fields of `BertConfig` that are given instead of drawn.

    Raises:
        ValueError: no configuration has such values.
    """
    for name in ("hidden_size", "num_attention_heads"):
        require_int(name, fixed.get(name, 1), at_least=1)
    require_int("pad_token_id", fixed.get("pad_token_id", 0), at_least=0)
    # Narrower than four, a layer norm's output hardly depends on its input; even, for sinusoids.
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
    """Batches that a model of this configuration reads, padded at the right; ids may repeat.

    >>> from hypothesis import find
    >>> batch = find(batches(BertConfig()), lambda batch: batch["attention_mask"].min() == 0)
    >>> {name: array.tolist() for name, array in batch.items()}
    {'input_ids': [[0, 0]], 'token_type_ids': [[0, 0]], 'attention_mask': [[1, 0]]}

    Args:
        draw: given by Hypothesis.
        config: whose sizes bound the ids, the segments and the length.
        max_batch, max_length: the largest B and T.

    Returns:
        `input_ids`, `token_type_ids` and `attention_mask`, (B, T); every sequence has a token.
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


def parameters(shapes: Shapes, *, dtype: DTypeLike = np.float64) -> st.SearchStrategy[Parameters]:
    """Parameters away from their initial values, where a 0 and a 1 can't hide a wrong gradient.

    Args:
        shapes: of a layer or a model, as its `shapes()` returns them.
        dtype: float64 to prove, float32 to run.
    """
    return st.integers(0, 2**16).map(
        lambda seed: away_from_initial(Parameters(shapes), seed).astype(dtype)
    )


# What has broken tokenizers: characters that grow, shrink or vanish when they are normalised, that
# look like white space or only nearly, that are several to the eye's one, or that aren't any.
HOSTILE = (
    "", " ", "\t", "\n", "\r\n", "\x00", "\x1f", "\x7f", "\x85", "\xa0", "\xad", "\u200b", "\u200d",
    "\u2028", "\u3000", "\ufeff", "\ufffd", "\uffff", "\U0010ffff", "\u0301", "e\u0301", "é", "İ",
    "ß", "ﬁ", "Ǆ", "\u212b", "한", "\u1112\u1161\u11ab",
    "中文", "ไทย", "\u202eabc", "👩‍🔬", "🇫🇮", "❤️", "½", "٣",
    "don't", "...", "$5", "a_b", "[MASK]", "[CLS]", "[mask]", "##s", "[UNK", "-100", "a" * 101,
)  # fmt: skip


def texts(*, max_size: int = 12) -> st.SearchStrategy[str]:
    r"""Texts of every kind: words, all white space, and Unicode that has broken tokenizers.

    Lone surrogates are left out: they are no text, and no file can hold them.

    >>> from hypothesis import find
    >>> find(texts(), lambda text: len(text) > 2)
    '000'

    Args:
        max_size: the most parts that a text is joined from; a part has 101 characters at most.
    """
    letters = st.characters(exclude_categories=["Cs"])
    part = st.one_of(
        st.text("0ab ", max_size=4), st.text(letters, max_size=4), st.sampled_from(HOSTILE)
    )
    return st.lists(part, max_size=max_size).map("".join)


@st.composite
def vocabularies(draw: st.DrawFn, *, max_size: int = 20) -> list[str]:
    """Vocabularies of WordPiece: the special tokens, then pieces that begin or go on, once each.

    >>> from hypothesis import find
    >>> find(vocabularies(), lambda pieces: any(piece.startswith("##") for piece in pieces))
    ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '##a']

    Args:
        draw: given by Hypothesis.
        max_size: the most pieces beside the special ones.
    """
    letters = "abcé中.!'"
    piece = st.builds(
        lambda prefix, body: prefix + body,
        st.sampled_from(["", "##"]),
        st.text(letters, min_size=1, max_size=4),
    )
    pieces = draw(st.lists(piece, max_size=max_size, unique=True))
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
