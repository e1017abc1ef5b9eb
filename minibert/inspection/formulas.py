"""The formulas of a model, composed from those of its layers.

Each layer has formulas for its own activations, and one for the gradient that it hands back to the
layer whose output it reads. So the formulas of a model are those of its parts, whatever family they
are composed for.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from minibert.inspection import attention_entries as a
from minibert.inspection import entries as e
from minibert.inspection.activations import kind_of
from minibert.inspection.entries import EMBEDDED, LAST_NORM, Around, Entries, Entry
from minibert.inspection.losses import loss_class
from minibert.inspection.readers import stock_class
from minibert.layers import (
    Block,
    Embeddings,
    Encoder,
    FeedForward,
    GatedFeedForward,
    MaskedLMHead,
    PooledClassifierHead,
    PreNormEncoder,
    PreNormResidual,
    RelativeBias,
    Residual,
    RotaryPositions,
    SelfAttention,
    WordEmbeddings,
    unwrapped,
)
from minibert.layers.families.disentangled import (
    DisentangledAttention,
    DisentangledEncoder,
    RelativeEmbeddings,
)
from minibert.layers.families.windowed import RotaryByKind, WindowedSelfAttention
from minibert.models.families.summary import SummaryHead

TIED = "; and (d logits)ᵀ normalized of the head, because the table is used twice"
SHARED = ", summed over the blocks that share it"
Place = tuple[str, str]  # of an activation: its part and its name


def formulas_of(model: Any) -> dict[Place, tuple[Entry, str]]:
    """Return the entry of each activation, and the scope of its parameters, by part and name.

    Args:
        model: a masked language model or a classifier of texts.

    Raises:
        ValueError: a layer has no formulas here; the message names its class. Or there are
            several numbers.
    """
    found: dict[Place, tuple[Entry, str]] = {}

    def add(part: str, scope: str, entries: Entries) -> None:
        found.update({(part, name): (entry, scope) for name, entry in entries.items()})

    embeddings, encoder, positions = model.bert.embeddings, model.bert.encoder, None
    if type(encoder) not in (Encoder, PreNormEncoder, DisentangledEncoder):
        raise _unknown(encoder)
    blocks, scope = [unwrapped(block) for block in encoder.blocks], f"{model.prefix}encoder."
    top, vector = f"{handed_back(model.head)}, of the head", "the last vector of [CLS]"
    if getattr(model, "reads_mean", False):
        top, vector = f"{top}, / T for each token", "the mean of the last vectors"
    elif not model.predicts_tokens:
        top += ", for [CLS]; 0 for the others"
    # What each block hands back, and what the last one gets.
    above = [f"{handed_back(block)}, of the block above" for block in blocks]
    last = f"{e.norm_handed()}, of the last norm"
    above.append(last if isinstance(encoder, PreNormEncoder) else top)
    add("embeddings", f"{model.prefix}embeddings.", entries_of(embeddings, Around(above[0])))
    if encoder.positions is not None:
        positions = encoder.positions
        add("positions", scope, entries_of(positions, Around("")))
    x = "the projection" if getattr(embeddings, "project", None) else EMBEDDED
    for i, block in enumerate(blocks):
        around = Around(above[i + 1], LAST_NORM if i else x, positions)
        add(f"block {i + 1}", scope + encoder.scopes[i], entries_of(block, around))
    if isinstance(encoder, PreNormEncoder):
        add("last norm", scope, {"normalized": e.norm_entry(encoder.norm, top)})
    add("head", "", entries_of(model.head, Around(loss_class(model).handed, vector)))
    return found


class Formulas(NamedTuple):
    """The formulas of a layer.

    Attributes:
        entries: called as `entries(layer, around)`.
        handed: called as `handed(layer)`: the gradient of what the layer reads; None: nothing that
            has a gradient.
    """

    entries: Callable[[Any, Around], Entries]
    handed: Callable[[Any], str] | None = None


def entries_of(layer: Any, around: Around) -> Entries:
    """Return the entries of a layer's activations by name, in the order of the forward pass.

    Raises:
        ValueError: the layer has no formulas here.
    """
    return _formulas(layer).entries(layer, around)


def handed_back(layer: Any) -> str:
    """Return the formula of the gradient of what a layer reads (str).

    Raises:
        ValueError: as `entries_of`, or the layer reads nothing that has a gradient.
    """
    handed = _formulas(layer).handed
    if handed is None:
        raise _unknown(layer)
    return handed(layer)


def _formulas(layer: Any) -> Formulas:
    kind = type(layer) if type(layer) in FORMULAS else stock_class(layer)
    if kind not in FORMULAS:
        raise _unknown(layer)
    return FORMULAS[kind]


def _unknown(layer: Any) -> ValueError:
    return ValueError(
        f"values: expected a layer whose formulas are known, got {type(layer).__name__}"
    )


# Layers that contain others.


def _block(layer: Block, around: Around) -> Entries:
    first = around._replace(above=handed_back(layer.feed_forward))
    second = around._replace(x=LAST_NORM)
    return {**entries_of(layer.attention, first), **entries_of(layer.feed_forward, second)}


def _residual(layer: Residual, around: Around) -> Entries:
    kind, out = kind_of(layer.sublayer), _output(layer.sublayer)
    total = f"residual sum ({kind})"
    return {
        **entries_of(layer.sublayer, around._replace(above=f"d {total}, unchanged")),
        total: Entry(f"x + {out}; x is {around.x}", e.norm_handed(f"normalized ({kind})")),
        f"normalized ({kind})": e.norm_entry(layer.norm, around.above),
    }


def _residual_handed(layer: Any) -> str:
    return f"d residual sum ({kind_of(layer.sublayer)}) + {handed_back(layer.sublayer)}"


def _pre_norm(layer: PreNormResidual, around: Around) -> Entries:
    kind, out = kind_of(layer.sublayer), _output(layer.sublayer)
    total = f"residual sum ({kind})"
    x = around.x if layer.norm is None else LAST_NORM
    entries = entries_of(layer.sublayer, around._replace(above=f"d {total}, unchanged", x=x))
    if layer.norm is not None:
        normalized = e.norm_entry(layer.norm, handed_back(layer.sublayer))
        entries = {f"normalized ({kind})": normalized, **entries}
    forward = f"r + {out}; r is the last residual sum, in the first block {EMBEDDED}"
    return {**entries, total: Entry(forward, around.above)}


def _pre_norm_handed(layer: PreNormResidual) -> str:
    if layer.norm is None:
        return _residual_handed(layer)
    kind = kind_of(layer.sublayer)
    return f"d residual sum ({kind}) + {e.norm_handed(f'normalized ({kind})')}"


def _output(sublayer: Any) -> str:
    """Return the name of a sublayer's output."""
    return "attention output" if isinstance(sublayer, SelfAttention) else "down-projection"


def _attention_handed(layer: SelfAttention) -> str:
    return "d query Wq + d key Wk + d value Wv"


FORMULAS: dict[type, Formulas] = {
    Embeddings: Formulas(e.embeddings),
    WordEmbeddings: Formulas(e.word_embeddings),
    RotaryPositions: Formulas(a.rotary),
    RotaryByKind: Formulas(a.rotary),
    RelativeBias: Formulas(a.relative_bias),
    RelativeEmbeddings: Formulas(a.distances),
    Block: Formulas(_block, lambda layer: handed_back(layer.attention)),
    Residual: Formulas(_residual, _residual_handed),
    PreNormResidual: Formulas(_pre_norm, _pre_norm_handed),
    SelfAttention: Formulas(a.attention, _attention_handed),
    WindowedSelfAttention: Formulas(a.attention, _attention_handed),
    DisentangledAttention: Formulas(a.disentangled, _attention_handed),
    FeedForward: Formulas(e.feed_forward, lambda layer: "d up-projection W"),
    GatedFeedForward: Formulas(e.gated, lambda layer: "d up-projection W + d gate V"),
    MaskedLMHead: Formulas(e.masked_lm, lambda layer: "d transform W"),
    PooledClassifierHead: Formulas(e.pooled, lambda layer: "(d pooler * (1 - pooler²)) W"),
    SummaryHead: Formulas(e.summary, lambda layer: "d dense W"),
}
