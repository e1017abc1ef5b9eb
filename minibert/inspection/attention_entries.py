"""The formulas of attention and of the positions beside it; see `entries`."""

from minibert.inspection.attention_readers import DISTANCES, turns
from minibert.inspection.entries import (
    Around,
    Entries,
    Entry,
    linear_parameters,
    mapped,
    norm_entry,
    norm_handed,
)
from minibert.layers import RelativeBias, RotaryPositions, SelfAttention
from minibert.layers.families.disentangled import DisentangledAttention, RelativeEmbeddings
from minibert.layers.families.windowed import RotaryByKind
from minibert.layers.linear import WeightAndBias

SCORES, WEIGHTS = "attention scores", "attention weights"
BIAS, RELATIVE = "relative bias", "relative scores"
OF_PAIRS = SCORES, WEIGHTS, BIAS, RELATIVE  # (K, T, T), a token in each column
VECTORS, NORMALIZED = "distance embedding", "normalized (distances)"
OF_DISTANCES = VECTORS, NORMALIZED, *DISTANCES.values()  # (U, ...), a distance in each row

# Positions beside attention.


def rotary(layer: RotaryPositions, around: Around) -> Entries:
    """Return the entries of rotary positions, which do not learn."""
    formula = "position · θ^(-2i/H) for the pair i of units, from -π to π"
    entries = {"angle": Entry(formula, "")}
    if isinstance(layer, RotaryByKind):
        entries["angle in a window"] = Entry(f"{formula}, with another θ", "")
    return entries


def relative_bias(layer: RelativeBias, around: Around) -> Entries:
    """Return the entry of a bias that is added to the scores."""
    forward = "the table's number of the bucket of the distance j - i, of each head"
    gradient = f"d {BIAS}, added to the row of each pair's bucket"
    backward = f"d {SCORES}, summed over the blocks"
    return {BIAS: Entry(forward, backward, ((layer.weight, gradient),))}


def distances(layer: RelativeEmbeddings, around: Around) -> Entries:
    """Return the entries of the vectors of distances."""
    rows = "the table's rows of the distances i - j that occur, or of their buckets"
    table = ((layer.weight, f"d {VECTORS}, in the rows that are read"),)
    read = "Σ d distance key Wk + d distance query Wq, of all blocks"
    if layer.norm is None:
        return {VECTORS: Entry(rows, read, table)}
    first = Entry(rows, norm_handed(NORMALIZED), table)
    return {VECTORS: first, NORMALIZED: norm_entry(layer.norm, read)}


# Attention.

ROWS = "softmax of each row of the scores"


def attention(layer: SelfAttention, around: Around) -> Entries:
    """Return the entries of self-attention, with positions beside it and a window if it has one."""
    positions, window = around.positions, getattr(layer, "window", None)
    turned = "turned " if turns(positions) else ""
    bias = f" + {BIAS}" if positions is not None and positions.adds_scores else ""
    back = {"query": f"d scores {turned}key / √H", "key": f"(d scores)ᵀ {turned}query / √H"}
    entries = _roles(layer, around, back)
    if turned:
        angle = "angle" if window is None else "angle in a window"
        for role, backward in back.items():
            entries[role] = entries[role]._replace(backward=f"d turned {role}, turned back")
            formula = f"{role}, the units i and i + H/2 turned by {angle} i, side by side"
            entries[f"turned {role}"] = Entry(formula, backward)
    near = "" if window is None else f" with the tokens at most {window} away; 0 elsewhere"
    scores = f"{turned}query {turned}keyᵀ / √H{bias}"
    return {**entries, **_weighted(layer, around, scores, f"{ROWS}{near}")}


def _roles(layer: SelfAttention, around: Around, backward: dict[str, str]) -> Entries:
    """Return the entries of query, key and value."""
    forward = f"{mapped(layer.roles, 'x')}, cut into heads; x is {around.x}"
    names = {role: WeightAndBias(f"{layer.name}.self.{role}") for role in (*backward, "value")}
    return {
        role: Entry(forward, formula, linear_parameters(names[role], role, "x"))
        for role, formula in {**backward, "value": "weightsᵀ d heads"}.items()
    }


def _weighted(layer: SelfAttention, around: Around, scores: str, weights: str) -> Entries:
    """Return the entries from the scores on."""
    parameters = linear_parameters(layer.output, "attention output", "heads' output")
    return {
        SCORES: Entry(scores, "w * (d w - Σ d w * w) of each row, w the weights"),
        WEIGHTS: Entry(weights, "d heads valueᵀ"),
        "heads' output": Entry("weights value, the heads side by side", "d attention output W"),
        "attention output": Entry(mapped(layer.output, "heads' output"), around.above, parameters),
    }


def disentangled(layer: DisentangledAttention, around: Around) -> Entries:
    """Return the entries of attention whose content reads distances."""
    root = f"√({round(layer.content_scale**-2)}H)"
    scores = f"query keyᵀ / {root}"
    back = {"query": f"d scores key / {root}", "key": f"(d scores)ᵀ query / {root}"}
    entries = _roles(layer, around, back)
    if around.positions is None or not layer.maps:
        return {**entries, **_weighted(layer, around, scores, ROWS)}
    products = []
    for term, linear in layer.maps.items():
        name = DISTANCES[term]
        role = name.removeprefix("distance ")
        content = {"key": "query", "query": "key"}[role]
        products.append(f"{content} · {name} of i - j")
        more = f"{entries[content].backward} + Σ d {RELATIVE} * {name} / {root}"
        entries[content] = entries[content]._replace(backward=more)
        parameters, same = linear_parameters(linear, name, "r"), ""
        if layer.shared:  # with the map of the tokens, whose gradients add
            same = f", and W and b those of the {role}"
            own = zip(entries[role].parameters, parameters, strict=True)
            both = tuple((names, f"{one} + {other}") for (names, one), (_, other) in own)
            entries[role], parameters = entries[role]._replace(parameters=both), ()
        entries[name] = Entry(
            f"{mapped(linear, 'r')}, cut into heads; r are the vectors of distances{same}",
            f"Σ d {RELATIVE} * {content} / {root} of the pairs with the distance",
            parameters,
        )
    total = f"({' + '.join(products)}) / {root}"
    entries[RELATIVE] = Entry(total, f"d {SCORES}, unchanged")
    return {**entries, **_weighted(layer, around, f"{scores} + {RELATIVE}", ROWS)}
