"""Estimates before a run: parameters, memory and FLOPs of a training step, and its time.

The step is one of masked language modelling as `pretrain` runs it, or of a classifier of texts as
`finetune` does, on sequences without padding: the batch is cut into shards, of which as many are
computed at once as there are threads, and the last block and the head compute the tokens alone that
the head reads. All but the time follows from the sizes and from the parameters that a model of the
family declares. The letters are those of
`minibert.functional`; b is the number of sequences of the largest shard, R the number of tokens of
a sequence that the head reads: the masked ones, or [CLS].
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from minibert.data.masking import MASKED_SHARE
from minibert.functional import IGNORED
from minibert.functional.attention import PIECE_ELEMENTS
from minibert.functional.families.disentangled import BLOCK, distance_blocks
from minibert.functional.families.window import window_blocks
from minibert.layers import RelativeBias, RotaryPositions
from minibert.layers.families.disentangled import RelativeEmbeddings
from minibert.models.config import BertConfig
from minibert.models.families.pooled import reads_mean
from minibert.models.families.window_config import SLIDING
from minibert.models.table import family_class
from minibert.models.task_model import BertWithHead
from minibert.optim import AdamW
from minibert.parameters import Parameters
from minibert.specs import ParameterSpec, Spec
from minibert.training import Engine, Settings, split_batch

FLOAT = np.dtype(np.float32).itemsize  # bytes of a number
MOMENTS = 2  # numbers that AdamW keeps for each parameter
BUDGET = 2.0  # seconds for measuring
# What most machines reach, to choose what is measured first; and the time in which a parameter is
# drawn, its gradients are added, and it is updated.
SLOW_FLOPS = 2e10  # per second and thread
SECONDS_PER_PARAMETER = 3e-8
# Of the model that is measured before a large one.
SMALL_LAYERS, SMALL_VOCABULARY, SMALL_CLASSES = 2, 1024, 1024
FEW_CLASSES = 2  # of a model that is counted: it names its classes, which needs memory for each
SHORT = 16  # tokens of a sequence; none is made shorter
MAX_MEMORY = 2**31  # bytes of a step that is measured
MAX_STEPS = 50  # measured at most


@dataclass(frozen=True)
class TrainingStep:
    """A step of masked language modelling, or of a classifier of texts.

    Args:
        config: the sizes and dropout rates of the model.
        batch_size: B, sequences of the batch.
        length: T, tokens of each sequence, [CLS] and [SEP] included.
        shards: parts of the batch.
        threads: shards that are computed at once, at most.
        checkpointing: whether each block is computed again in the backward instead of kept.
        classes: C, of a classifier; 0: masked language modelling.

    Raises:
        ValueError: a number is out of its range, there are more shards than sequences, or the model
            has fewer positions than tokens.
    """

    config: BertConfig
    batch_size: int
    length: int
    shards: int
    threads: int = 1
    checkpointing: bool = False
    classes: int = 0

    def __post_init__(self) -> None:
        """Check the numbers; the message names the argument."""
        Settings(steps=1, batch_size=self.batch_size, shards=self.shards)
        if self.threads < 1:
            raise ValueError(f"threads: expected at least 1, got {self.threads}")
        if self.classes and self.classes < 2:
            raise ValueError(f"classes: expected at least 2, got {self.classes}")
        longest = self.config.longest
        if not 3 <= self.length <= longest:
            raise ValueError(
                f"length: expected from 3 to {longest} tokens (max_position_embeddings), "
                f"got {self.length}"
            )

    @property
    def read(self) -> int:
        """R, the tokens of a sequence that the head reads: 15 % of the ordinary ones, or [CLS]."""
        return 1 if self.classes else max(round(MASKED_SHARE * (self.length - 2)), 1)

    @property
    def computed(self) -> int:
        """The tokens of a sequence that the last block computes: those that the head reads.

        For a classifier that reads the mean, all of them.
        """
        return self.length if self.classes and reads_mean(self.config) else self.read

    @property
    def at_once(self) -> int:
        """The number of shards that are computed at the same time."""
        return min(self.threads, self.shards)

    @property
    def shard_size(self) -> int:
        """The number of sequences of the largest shard."""
        return -(-self.batch_size // self.shards)


def make_model(config: BertConfig, classes: int = 0, **options: Any) -> BertWithHead:
    """Return a masked language model, or a classifier of texts, of the configuration's family.

    Args:
        config: the sizes.
        classes: C; 0: a masked language model.
        options: of the model's class.

    Raises:
        ValueError: the family has no such class.
    """
    use = "ForSequenceClassification" if classes else "ForMaskedLM"
    if classes:
        config = replace(config, id2label={i: f"LABEL_{i}" for i in range(classes)})
    made: BertWithHead = family_class(config.model_type, use)(config, **options)
    return made


def count_parameters(config: BertConfig, classes: int = 0) -> dict[str, int]:
    """Return the number of parameters of each part of a model.

    The parts are `embeddings`, `block` (the last one) and `head`. The first block may have more or
    fewer: in MPNet it counts the table of relative positions, and ModernBERT's lacks a norm.

    >>> count_parameters(BertConfig.preset("tiny", vocab_size=1000, max_position_embeddings=32))
    {'embeddings': 132608, 'block': 198272, 'head': 17768}
    """
    few = min(classes, FEW_CLASSES)
    sizes = _sizes(make_model(config, few, params=Parameters({})))
    parts = {"embeddings": 0, "block": config.num_blocks, "head": None}
    counts = {part: sum(n for at, n in sizes if at == depth) for part, depth in parts.items()}
    counts["head"] += (classes - few) * (config.hidden_size + 1)  # a row of the map and its bias
    return counts


def total_parameters(config: BertConfig, classes: int = 0) -> int:
    """Return P, the number of all parameters of a model."""
    few = min(classes, FEW_CLASSES)
    sizes = _sizes(make_model(config, few, params=Parameters({})))
    return sum(n for _, n in sizes) + (classes - few) * (config.hidden_size + 1)


def _sizes(model: BertWithHead) -> list[tuple[int | None, int]]:
    """Return the depth and the number of elements of each parameter."""
    specs = model.specs().values()
    return [(s.depth, int(np.prod(s.shape))) for s in specs if isinstance(s, ParameterSpec)]


# FLOPs.


class Products(NamedTuple):
    """The multiply-adds of the products with a model's weights, each for one token.

    Attributes:
        embeddings: E D, if there is a map from the tables' width E to that of the blocks, else 0.
        keys: 2 D² of a block, for key and value of all tokens.
        queries: 2 D² + 2 D F of a block (3 D F with a gate), for the tokens that it computes.
        head: D E + E V; of a classifier D² + D C.
    """

    embeddings: int
    keys: int
    queries: int
    head: int


def weight_products(config: BertConfig, classes: int = 0) -> Products:
    """Return the multiply-adds of the products with the weights, from the parameters' shapes.

    >>> weight_products(BertConfig.preset("tiny", vocab_size=1000))
    Products(embeddings=0, keys=32768, queries=163840, head=144384)
    """
    few = min(classes, FEW_CLASSES)
    one = config.with_layers([0])  # all blocks have the same matrices
    model = make_model(one, few, params=Parameters({}))
    E, D = _table_width(config), config.hidden_size
    sizes = _matrices(model.bert.encoder.blocks[-1].specs())
    keys = sum(sizes[f"attention.self.{name}.weight"] for name in ("key", "value"))
    heads = {name: s for name, s in model.specs().items() if getattr(s, "depth", 0) is None}
    head = sum(_matrices(heads).values())
    head += (classes - few) * D if classes else E * config.vocab_size  # the tied table
    projection = _matrices(model.bert.embeddings.specs()).get("project.weight", 0)
    return Products(projection, keys, sum(sizes.values()) - keys, head)


def _matrices(specs: Mapping[str, Spec]) -> dict[str, int]:
    """Return the number of elements of each weight (out, in), by name."""
    declared = {name: s.shape for name, s in specs.items() if isinstance(s, ParameterSpec)}
    return {
        name: int(np.prod(shape)) for name, shape in declared.items()
        if len(shape) == 2 and "relative" not in name  # maps of distances, see `Distances`
    }  # fmt: skip


def _table_width(config: BertConfig) -> int:
    """Return E, the width of the word embeddings; D unless the configuration states another."""
    return int(getattr(config, "embedding_size", None) or config.hidden_size)


class Distances(NamedTuple):
    """What attention with embeddings of distances computes besides BERT's, as in DeBERTa.

    Attributes:
        to_keys, to_queries: whether queries meet the distances of keys, and the other way round.
        rows: U, the embeddings of distances that each block maps for each of the two.
    """

    to_keys: bool
    to_queries: bool
    rows: int


def _encoder_of(config: BertConfig) -> Any:
    """Return the encoder of a model of one layer, without parameters."""
    return make_model(config.with_layers([0]), params=Parameters({})).bert.encoder


def distances_of(config: BertConfig, length: int) -> Distances:
    """Return which products with distances the attention of a model computes."""
    encoder = _encoder_of(config)
    block: Any = encoder.blocks[0]
    maps, positions = getattr(block.attention.sublayer, "maps", {}), encoder.positions
    if not isinstance(positions, RelativeEmbeddings) or not maps:
        return Distances(False, False, 0)
    numbers = positions.numbers(length)[0]
    return Distances("c2p" in maps, "p2c" in maps, int(np.ptp(numbers)) + 1)


def block_products(config: BertConfig, length: int, queries: int) -> int:
    """Return the multiply-adds of the matrix products of a block, forward, for one sequence.

        2 T D²  +  R (2 D² + 2 T D + 2 D F)

    Key and value of all T tokens; then for each of R query positions: query and attention output,
    scores and heads, and both maps of the feed-forward sublayer. With R = T it is
    4 T D² + 2 T² D + 2 T D F. A gate has a third map of D F. A DeBERTa has more: each block of S
    keys or queries meets S + T distances, and R < T queries meet 2 T.
    """
    products, D, far = weight_products(config), config.hidden_size, distances_of(config, length)
    blocks = (own.stop - own.start for own, _ in distance_blocks(length))
    pairs = sum(size * (size + length) for size in blocks)
    to_keys = pairs if queries == length else 2 * length * queries
    relative = D * (far.to_keys * to_keys + far.to_queries * pairs)
    return length * products.keys + queries * (products.queries + 2 * length * D) + relative


def head_products(step: TrainingStep) -> int:
    """Return the multiply-adds of the products of the head for one sequence, R (D² + D V).

    The head of a classifier, pooler and linear map, has D² + D C.
    """
    return step.read * weight_products(step.config, step.classes).head


def forward_flops(step: TrainingStep) -> int:
    """Return the FLOPs of the forward pass of a step: two for each multiply-add of a product.

        2 B ((L - 1) block(T, T) + block(T, R) + head)

    for tables of another width E than that of the blocks, 2 B T E D; and for U embeddings of
    distances, which each shard maps in each block, 2 L U D² for one of the maps.
    Sums that the code computes as products with ones, and everything elementwise, do not count.
    """
    projected = step.length * weight_products(step.config).embeddings
    own = step.batch_size * (projected + _all_blocks(step) + head_products(step))
    return 2 * (own + _maps_of_distances(step))


def step_flops(step: TrainingStep) -> int:
    """Return the FLOPs of a training step: three times those of the forward.

    The backward of out = a b is da = dout bᵀ and db = aᵀ dout, two products of the same size. With
    gradient checkpointing the blocks are computed once more.
    """
    again = step.batch_size * _all_blocks(step) + _maps_of_distances(step)
    return 3 * forward_flops(step) + (2 * again if step.checkpointing else 0)


def _maps_of_distances(step: TrainingStep) -> int:
    """Return the multiply-adds of the maps of distances of all blocks and shards."""
    far, D = distances_of(step.config, step.length), step.config.hidden_size
    maps = step.shards * step.config.num_hidden_layers * (far.to_keys + far.to_queries)
    return maps * far.rows * D * D


def _all_blocks(step: TrainingStep) -> int:
    """Return the multiply-adds of all blocks for one sequence."""
    whole = block_products(step.config, step.length, step.length)
    last = block_products(step.config, step.length, step.computed)
    saved = 2 * step.config.hidden_size * sum(_saved_pairs(step))
    return (step.config.num_blocks - 1) * whole + last - saved


def _saved_pairs(step: TrainingStep) -> list[int]:
    """Return for each block the pairs of query and key that a window spares, of one sequence.

    A block that computes some tokens alone computes all pairs of these.
    """
    T, counts = step.length, [0] * step.config.num_blocks
    kinds: tuple[str, ...] = getattr(step.config, "kinds", ())
    for i, kind in enumerate(kinds):
        if kind == SLIDING and (i < len(kinds) - 1 or step.computed == T):
            blocks = window_blocks(T, step.config.window)  # type: ignore[attr-defined]
            size = sum((o.stop - o.start) * (near.stop - near.start) for o, near in blocks)
            counts[i] = T * T - size
    return counts


# Memory.


@dataclass(frozen=True)
class Memory:
    """The memory of a training step in bytes, at its peak.

    Attributes:
        parameters: P numbers.
        gradients: P numbers for each buffer.
        buffers: the number of gradient buffers.
        moments: 2 P numbers of AdamW.
        activations: of all shards that are computed at once.
    """

    parameters: int
    gradients: int
    buffers: int
    moments: int
    activations: int

    @property
    def total(self) -> int:
        """The sum; Python, NumPy and the data need more."""
        return self.parameters + self.gradients + self.moments + self.activations


def memory_of(step: TrainingStep) -> Memory:
    """Return the memory of a step in float32.

    Each shard that is being computed adds into a gradient buffer of its own, and the sum so far is
    one more, unless all shards are computed at once.
    """
    vector = FLOAT * total_parameters(step.config, step.classes)
    buffers = min(step.at_once + 1, step.shards)
    activations = step.at_once * activation_bytes(step)
    return Memory(vector, buffers * vector, buffers, MOMENTS * vector, activations)


def activation_bytes(step: TrainingStep) -> int:
    """Return the bytes of the activations of the largest shard, at the peak of its step.

    Until its backward is finished, a shard keeps the caches of all layers and the gradient of the
    logits. On top of that it needs the logits while the loss is computed, or what the backward of
    one block needs, whichever is larger; with gradient checkpointing, also the block's caches.
    """
    config, b, T, R = step.config, step.shard_size, step.length, step.computed
    D, E, N, n = config.hidden_size, _table_width(config), b * T, b * R
    embeddings = FLOAT * (N * (E + D) + N) + _mask_bytes(config.hidden_dropout_prob, N * E)
    head = FLOAT * (3 * n * D + n)  # a pooler keeps less, but then n is b
    logits = FLOAT * n * (step.classes or config.vocab_size)
    queries = [T] * (config.num_blocks - 1) + [R]
    # A number and perhaps a byte for each weight.
    pair = FLOAT + bool(config.attention_probs_dropout_prob)
    spared = [b * config.num_attention_heads * pair * pairs for pairs in _saved_pairs(step)]
    beside = [_position_bytes(config, b, T, each) for each in queries]
    kept = [block_cache_bytes(config, b, T, each) + own.kept
            for each, own in zip(queries, beside, strict=True)]  # fmt: skip
    kept = [own - less for own, less in zip(kept, spared, strict=True)]
    needed = [_block_backward_bytes(config, b, T, each, own)
              for each, own in zip(queries, beside, strict=True)]  # fmt: skip
    if step.checkpointing:
        needed = [sum(pair) for pair in zip(kept, needed, strict=True)]
        kept = [FLOAT * b * each * D for each in queries]  # the output, which the next one reads
    return embeddings + beside[0].tables + sum(kept) + head + logits + max(logits, *needed)


def block_cache_bytes(config: BertConfig, sequences: int, length: int, queries: int) -> int:
    """Return the bytes that a block's forward keeps for its backward.

    Per query position: query, merged heads, both normalized sums and both outputs of the norms
    (6 D), activation and slope (2 F; with a gate, its product and both slopes, 3 F), both standard
    deviations; the tokens themselves (D) if they are not all. Per token: key and value (2 D). And
    K R T attention weights for each sequence. With dropout, a byte for each unit and weight that it
    may drop.
    """
    D, F, K = config.hidden_size, config.intermediate_size, config.num_attention_heads
    N, n = sequences * length, sequences * queries
    weights = sequences * K * queries * length
    asking = n * D if queries < length else 0
    numbers = n * (6 * D + (2 + _gates(config)) * F + 2) + asking + 2 * N * D + weights
    hidden, attention = config.hidden_dropout_prob, config.attention_probs_dropout_prob
    return FLOAT * numbers + _mask_bytes(hidden, 2 * n * D) + _mask_bytes(attention, weights)


class PositionBytes(NamedTuple):
    """The bytes of positions beside attention.

    Attributes:
        tables: of a shard, with their gradient.
        kept: what a block keeps.
        scores: of the gradient of all scores, if the positions learn.
        after: what the backward of a block needs when it has that gradient.
    """

    tables: int
    kept: int
    scores: int
    after: int


def _position_bytes(config: BertConfig, sequences: int, length: int, queries: int) -> PositionBytes:
    """Return the bytes of the positions of a model; zeros if they are in the embeddings.

    Rotated queries and keys are kept beside those that were projected together with the values. A
    relative bias has K T² numbers and their gradient; the backward of a block needs the gradient of
    all scores and its sum over the sequences. With embeddings of distances, a block keeps the
    queries twice, and for each of its terms 2 T D numbers, whose gradient its backward needs; and
    it needs the gradients of all scores, of queries and keys once more, and the products of two
    blocks of tokens with distances, in a few sequences or heads at a time: those of a block are
    freed when the next ones are stored. If few tokens are computed, their columns and the sums by
    token take as much again.
    """
    T, D, K = length, config.hidden_size, config.num_attention_heads
    N, n, scores = sequences * T, sequences * queries, sequences * K * queries * T
    positions, far = _encoder_of(config).positions, distances_of(config, T)
    found = PositionBytes(0, 0, 0, 0)
    if isinstance(positions, RotaryPositions):
        found = PositionBytes(0, N * D + (n * D if queries == T else 0), 0, 0)
    elif isinstance(positions, RelativeBias):
        found = PositionBytes(2 * K * T * T, 0, scores, K * T * T)
    elif isinstance(positions, RelativeEmbeddings):
        terms = far.to_keys + far.to_queries
        heads = min(max(PIECE_ELEMENTS // (2 * queries * T), 1), sequences * K)
        block = min(BLOCK, T) * (min(BLOCK, T) + T)
        most = 2 * block if queries == T else 4 * max(block, 2 * queries * T)
        products = heads * most if terms else 0
        own = n * D + 2 * terms * T * D
        found = PositionBytes(far.rows * D, own, scores, N * D + own + products)
    return PositionBytes(*(FLOAT * each for each in found))


def _block_backward_bytes(
    config: BertConfig, sequences: int, length: int, queries: int, beside: PositionBytes
) -> int:
    """Return the bytes that a block's backward needs besides its caches.

    In the feed-forward sublayer: the gradients of its output, of the residual sum, of activation
    and up-projection (2 F, with a gate 3 F), and of its input. In attention: those of both outputs,
    of the residual sum and of the heads, of query, key and value, and of the input; and of the
    weights of a few sequences or heads at a time, twice, or afterwards what its positions need.
    """
    D, F = config.hidden_size, config.intermediate_size
    N, n = sequences * length, sequences * queries
    weights = queries * length  # of a head
    piece = min(max(PIECE_ELEMENTS // weights, 1), sequences * config.num_attention_heads) * weights
    copies = 4 if config.attention_probs_dropout_prob else 2
    weighing = max(FLOAT * copies * piece, beside.after)
    attention = FLOAT * (5 * n * D + 3 * N * D) + beside.scores + weighing
    dropped = n * D if config.hidden_dropout_prob else 0  # the gradient before the dropout
    return FLOAT * dropped + max(FLOAT * n * (3 * D + (2 + _gates(config)) * F), attention)


def _gates(config: BertConfig) -> int:
    """Return 1 if the feed-forward sublayer has a gate, else 0."""
    D, F = config.hidden_size, config.intermediate_size
    return (weight_products(config).queries - 2 * D * D) // (D * F) - 2


def _mask_bytes(rate: float, units: int) -> int:
    return units if rate else 0


# Time.


@dataclass(frozen=True)
class Timing:
    """The time of a step on this machine.

    Attributes:
        seconds: of a step.
        steps: the number of steps that were measured.
        measured: the step that was measured: the same one, or a smaller one, whose time is
            multiplied by the ratio of the FLOPs.
    """

    seconds: float
    steps: int
    measured: TrainingStep


def time_step(step: TrainingStep, budget: float = BUDGET) -> Timing:
    """Measure a step of the engine, or extrapolate from a smaller one if it takes too long.

    Args:
        step: its threads are used.
        budget: seconds, about the most that is measured.
    """
    measured, part = step, 1.0  # of the budget
    if not _fits(step, SLOW_FLOPS * step.at_once, budget):
        measured, part = _smaller(step, budget / 4), 0.5
    seconds = _measure(measured, part * budget)
    speed = step_flops(measured) / statistics.median(seconds)
    if measured is not step and _fits(step, speed, budget):
        measured, seconds = step, _measure(step, budget)
    ratio = step_flops(step) / step_flops(measured)
    return Timing(statistics.median(seconds) * ratio, len(seconds), measured)


def _fits(step: TrainingStep, speed: float, budget: float) -> bool:
    """Return whether two steps fit into memory, and at a speed in FLOPs/s into some seconds."""
    if memory_of(step).total > MAX_MEMORY:
        return False
    parameters = SECONDS_PER_PARAMETER * total_parameters(step.config, step.classes)
    return 2 * step_flops(step) / speed + parameters <= budget


def _smaller(step: TrainingStep, budget: float) -> TrainingStep:
    """Return a step of two blocks, of few classes, and of so few sequences that it probably fits.

    If one sequence for each thread needs too much memory, they are shorter.
    """
    config = step.config
    small = replace(
        step,
        config=replace(
            config.with_layers(range(min(config.num_hidden_layers, SMALL_LAYERS))),
            vocab_size=min(config.vocab_size, SMALL_VOCABULARY),
            pad_token_id=config.pad_token_id if config.pad_token_id < SMALL_VOCABULARY else 0,
        ),
        classes=min(step.classes, SMALL_CLASSES),
    )
    while not _fits(small, SLOW_FLOPS * small.at_once, budget) and small.batch_size > small.at_once:
        shards = min(small.shards, small.at_once)
        size = max(small.batch_size // 2, shards)
        small = replace(small, batch_size=size, shards=shards)
    while memory_of(small).total > MAX_MEMORY and small.length > SHORT:
        length = max(small.length // 2, SHORT)
        positions = length + config.max_position_embeddings - config.longest
        small = replace(
            small, config=replace(small.config, max_position_embeddings=positions), length=length
        )
    return small


def _measure(step: TrainingStep, budget: float) -> list[float]:
    """Return the seconds of some steps on random tokens; the first step is not among them."""
    model = make_model(step.config, step.classes)
    if step.checkpointing:
        model.gradient_checkpointing_enable()
    engine = Engine(model, AdamW(model.params), threads=step.threads)
    shape = step.batch_size, step.length
    ids = np.random.default_rng(0).integers(0, step.config.vocab_size, shape)  # (B, T)
    labels = np.zeros(step.batch_size, np.int64) if step.classes else np.full(shape, IGNORED)
    if not step.classes:
        masked = np.linspace(1, step.length - 2, step.read).astype(int)  # (R,)
        labels[:, masked] = ids[:, masked]
    shards = split_batch({"input_ids": ids}, labels, step.shards)
    begin, seconds = time.perf_counter(), list[float]()
    with engine.running():
        for _ in range(MAX_STEPS + 1):
            start = time.perf_counter()
            engine.step(shards, 1e-4)
            end = time.perf_counter()
            seconds.append(end - start)
            if len(seconds) > 1 and end - begin + seconds[-1] > budget:
                break
    return seconds[1:]
