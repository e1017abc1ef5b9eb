"""Which chapter of the course explains an activation."""

from typing import NamedTuple


class Chapter(NamedTuple):
    """A chapter of the course.

    Attributes:
        number: from 0 to 15.
        title: in a few words.
        file: its name in docs/course.
    """

    number: int
    title: str
    file: str


LINEAR = Chapter(2, "linear map", "02-linear.md")
LAYER_NORM = Chapter(4, "layer norm", "04-layer-norm.md")
GELU = Chapter(5, "GELU", "05-gelu.md")
ATTENTION = Chapter(6, "attention", "06-attention.md")
HEADS = Chapter(7, "heads", "07-heads.md")
EMBEDDINGS = Chapter(8, "embeddings", "08-embeddings.md")
BLOCK = Chapter(9, "block", "09-block.md")
MASKED_LM = Chapter(10, "masked LM", "10-masked-lm.md")
FINE_TUNING = Chapter(14, "fine-tuning", "14-fine-tuning.md")

# By the name of the activation, without what is in brackets.
CHAPTERS = {
    "word embedding": EMBEDDINGS,
    "position embedding": EMBEDDINGS,
    "segment embedding": EMBEDDINGS,
    "embedding sum": EMBEDDINGS,
    "embeddings output": EMBEDDINGS,
    "projection": LINEAR,
    "normalized": LAYER_NORM,
    "query": ATTENTION,
    "key": ATTENTION,
    "value": ATTENTION,
    "turned query": ATTENTION,
    "turned key": ATTENTION,
    "angle": ATTENTION,
    "angle in a window": ATTENTION,
    "relative bias": ATTENTION,
    "distance embedding": EMBEDDINGS,
    "distance key": ATTENTION,
    "distance query": ATTENTION,
    "relative scores": ATTENTION,
    "attention scores": ATTENTION,
    "attention weights": ATTENTION,
    "heads' output": HEADS,
    "attention output": HEADS,
    "residual sum": BLOCK,
    "sublayer output": BLOCK,
    "block output": BLOCK,
    "up-projection": LINEAR,
    "activation": GELU,
    "gate": LINEAR,
    "gated activation": GELU,
    "down-projection": LINEAR,
    "transform": MASKED_LM,
    "pooler": FINE_TUNING,
    "dense": FINE_TUNING,
    "logits": FINE_TUNING,
}


def chapter_of(name: str, *, predicts_tokens: bool = False) -> Chapter | None:
    """Return the chapter that explains an activation; None: none does.

    >>> chapter_of("residual sum (attention)")
    Chapter(number=9, title='block', file='09-block.md')

    Args:
        name: of the activation.
        predicts_tokens: whether the logits are over the vocabulary.
    """
    name = name.partition(" (")[0]
    if name == "logits" and predicts_tokens:
        return MASKED_LM
    return CHAPTERS.get(name)
