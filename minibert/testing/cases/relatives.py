"""Cases of the layers of BERT's relatives: without biases, gated, with pre-norm and rotary."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from minibert import layers
from minibert.layers import Site
from minibert.layers.families.disentangled import (
    TERMS,
    DisentangledAttention,
    DisentangledEncoder,
    ProjectedNorm,
    RelativeEmbeddings,
)
from minibert.layers.families.windowed import RotaryByKind, WindowedSelfAttention
from minibert.layers.word_embeddings import after_padding, by_segment, in_order
from minibert.models.compose import bert_block
from minibert.models.families.albert import AlbertConfig, AlbertModel
from minibert.models.families.summary import SummaryHead, TwoLayerHead
from minibert.parameters import Parameters
from minibert.testing.cases.examples import CONFIG, B, C, D, F, K, T, V
from minibert.testing.cases.helpers import (
    SOME,
    Called,
    EmbeddedBatch,
    Positioned,
    encoder_case,
    layer_case,
    new_params,
    site_case,
    sites,
)
from minibert.testing.cases.records import ZEROS, Case, normal

HEADS = 5  # so that a head has an even width, 2; not the K of the other cases
WIDTH, WIDE_HEADS = 20, 2  # of the cases with heads of a width of 10


def relative_cases() -> Iterator[Case]:
    """Yield a case for each layer, with its options."""
    yield from _small_cases()
    yield from _sublayer_cases()
    yield from _relative_encoder_cases()
    yield from _encoder_cases()
    yield from _shared_encoder_cases()
    yield from _disentangled_cases()


def _norm(name: str, width: int = D) -> layers.LayerNormWithoutBias:
    return layers.LayerNormWithoutBias(name, width, 1e-5)


def _small_cases() -> Iterator[Case]:
    x = normal(B, T, D)
    yield layer_case(layers.LinearWithoutBias("dense", D, F), x=x)
    yield layer_case(_norm("LayerNorm"), x=x)
    words = EmbeddedBatch(layers.WordEmbeddings(V, D, 0, _norm("LayerNorm"), 0.3))
    yield layer_case(words, "dropout", subject="WordEmbeddings")
    norm, project = layers.LayerNorm("LayerNorm", F, 1e-5), layers.Linear("project", F, D)
    added = [
        # 7 is padding inside a text here.
        layers.AddedTable("position_embeddings.weight", 14, partial(after_padding, 7), 7),
        layers.AddedTable("order_embeddings.weight", T + 1, in_order),
        layers.AddedTable("token_type_embeddings.weight", 2, by_segment),
    ]
    words = EmbeddedBatch(layers.WordEmbeddings(V, F, 7, norm, 0.3, added, project))
    yield layer_case(words, "added tables, projection, dropout", subject="WordEmbeddings")
    for activation in ("tanh", "gelu"):
        for kind in (TwoLayerHead, SummaryHead):
            head = kind("dense", "out", D, C, activation, 0.3, 0.2)
            called = Called(head, dropout=True)
            yield layer_case(called, f"{activation}, dropout", subject=kind.__name__, x=x)
    head = TwoLayerHead("dense", "out", D, C, "gelu", 0.3, 0.2, _norm("LayerNorm"))
    called = Called(head, dropout=True)
    yield layer_case(called, "gelu, norm, dropout", subject="TwoLayerHead", x=x)


def _attention() -> layers.SelfAttentionWithoutBias:
    return layers.SelfAttentionWithoutBias("attention", WIDTH, WIDE_HEADS, rate=0.2)


def _sublayer_cases() -> Iterator[Case]:
    anywhere = Site(np.arange(T))
    for kind in ("gelu", "gelu_new"):
        yield site_case(layers.GatedFeedForward(D, F, kind), kind, anywhere)
    gated = layers.GatedFeedForward(D, F, "gelu", 0.3)
    yield site_case(gated, "dropout", anywhere, dropout=True)
    for norm, name in ((_norm("LayerNorm"), ""), (None, ", no norm")):
        residual = layers.PreNormResidual(gated, norm, 0.2)
        yield site_case(residual, f"feed-forward, dropout{name}", anywhere, dropout=True)
    x = normal(B, T, WIDTH)
    for which, site in sites():
        attention = layers.SelfAttentionWithoutBias("attention", D, HEADS, rate=0.2)
        yield site_case(attention, f"{which}, masked, dropout", site, dropout=True)
        residual = layers.PreNormResidual(attention, _norm("LayerNorm"), 0.3)
        variant = f"attention, {which}, masked, dropout"
        yield site_case(residual, variant, site, dropout=True, entries=SOME)
        rotary = Positioned(_attention(), layers.RotaryPositions(WIDTH // WIDE_HEADS, 7.0), site)
        variant = f"{which}, rotary, masked, dropout"
        yield layer_case(rotary, variant, subject="SelfAttentionWithoutBias", entries=SOME, x=x)
        attention = WindowedSelfAttention("attention", D, HEADS, 2, 0.2, size=2)
        yield site_case(attention, f"{which}, masked, dropout", site, dropout=True, entries=SOME)
        windowed = WindowedSelfAttention("attention", WIDTH, WIDE_HEADS, 1, 0.2, size=4)
        near = Positioned(windowed, RotaryByKind(WIDTH // WIDE_HEADS, 7.0, 3.0), site)
        variant = f"{which}, rotary, masked, dropout"
        yield layer_case(near, variant, subject="WindowedSelfAttention", entries=SOME, x=x)
        own = layers.SelfAttention("attention", D, K, rate=0.2)
        biased = Positioned(own, layers.RelativeBias(K), site)
        variant = f"{which}, masked, dropout"
        yield layer_case(biased, variant, subject="RelativeBias", entries=SOME, x=normal(B, T, D))


def _relative_encoder_cases() -> Iterator[Case]:
    """Yield cases of a bias that all blocks share, whose gradient is the sum over them."""
    x = normal(B, T, D)
    for which, site in sites():
        for name, wrap in (("", list), ("recomputed, ", partial(map, layers.recomputed))):
            blocks = list(wrap([bert_block(CONFIG) for _ in range(2)]))
            encoder = layers.Encoder(blocks, positions=layers.RelativeBias(K))
            yield encoder_case(encoder, f"{which}, {name}relative bias, masked, dropout", site, x=x)


def _encoder_cases() -> Iterator[Case]:
    def blocks(*kinds: layers.SelfAttentionWithoutBias) -> list[layers.Layer]:
        return [
            layers.Block(
                layers.PreNormResidual(attention, norm, 0.3),
                layers.PreNormResidual(
                    layers.GatedFeedForward(WIDTH, F, "gelu", 0.2), _norm("LayerNorm", WIDTH)
                ),
            )
            for attention, norm in zip(
                kinds or (_attention(), _attention()),
                (None, _norm("attention.LayerNorm", WIDTH)),
                strict=True,
            )
        ]

    positions = layers.RotaryPositions(WIDTH // WIDE_HEADS, 7.0)
    x, last = normal(B, T, WIDTH), _norm("LayerNorm", WIDTH)
    recomputed = [layers.recomputed(block) for block in blocks()]
    windowed = WindowedSelfAttention("attention", WIDTH, WIDE_HEADS, 2, 0.2, size=2)
    both = RotaryByKind(WIDTH // WIDE_HEADS, 7.0, 3.0)
    for which, site in sites():
        for name, kinds in (("full, window", (_attention(), windowed)),
                            ("window, full", (windowed, _attention()))):  # fmt: skip
            encoder = layers.PreNormEncoder(blocks(*kinds), last, both)
            yield encoder_case(encoder, f"{which}, {name}, rotary, masked, dropout", site, x=x)
        for name, own in (("", blocks()), ("recomputed, ", recomputed)):
            encoder = layers.PreNormEncoder(own, last, positions)
            yield encoder_case(encoder, f"{which}, {name}rotary, masked, dropout", site, x=x)
        lowest, highest = blocks()
        encoder = layers.PreNormEncoder([layers.frozen(lowest), highest], last, positions)
        still = [name for name in new_params(encoder.specs()) if name.startswith("layer.0.")]
        variant = f"{which}, one frozen block, rotary, masked, dropout"
        yield encoder_case(encoder, variant, site, fixed=x, still=still)


def _shared_encoder_cases() -> Iterator[Case]:
    """Yield cases of an ALBERT's layers, the first two of which are one block."""
    config = AlbertConfig(
        V, D, 3, K, F, "gelu_new", 0.3, 0.2, embedding_size=F, num_hidden_groups=2
    )  # fmt: skip

    def encoder() -> layers.Encoder:
        return AlbertModel(config, params=Parameters({})).bert.encoder

    x = normal(B, T, D)
    for which, site in sites():
        yield encoder_case(encoder(), f"{which}, groups 0 0 1, masked, dropout", site, x=x)
        wrapped = encoder()
        wrapped.blocks = [layers.recomputed(block) for block in wrapped.blocks]
        variant = f"{which}, recomputed, groups 0 0 1, masked, dropout"
        yield encoder_case(wrapped, variant, site, x=x)
        wrapped = encoder()
        wrapped.blocks[:2] = [layers.frozen(block) for block in wrapped.blocks[:2]]
        still = [name for name in new_params(wrapped.specs()) if name.startswith("layer.0.")]
        variant = f"{which}, a frozen group, masked, dropout"
        yield encoder_case(wrapped, variant, site, fixed=x, still=still)


def _disentangled(terms: Sequence[str] = TERMS, shared: bool = True) -> DisentangledAttention:
    return DisentangledAttention(
        "attention", D, K, 0.2, terms=terms, factor=3, shared=shared, row_rate=0.3
    )


def _disentangled_cases() -> Iterator[Case]:
    """Yield cases of attention that reads distances: each one, clipped, or in buckets."""
    x = normal(B, T, D)
    yield layer_case(ProjectedNorm("LayerNorm", D, 1e-5, "project", F), x=normal(B, T, F))
    spans = {
        "near": RelativeEmbeddings(D, T + 1, None, 1e-5),
        "clipped": RelativeEmbeddings(D, 3, None),
        "buckets": RelativeEmbeddings(D, 4, 9, 1e-5),  # distances beyond 2 share some
    }
    variants = [
        ("", _disentangled(), ()),
        # Softmax ignores what is added to all scores of a query.
        (", own maps", _disentangled(shared=False), ("relative_key.bias",)),
        (", c2p", _disentangled(TERMS[:1]), ZEROS),
        (", own maps, p2c", _disentangled(TERMS[1:], shared=False), ()),
    ]
    for which, site in sites():
        some = which == "some rows"
        yield site_case(_disentangled((), shared=False), f"{which}, no positions", site)
        for span, positions in list(spans.items())[2 * some :]:
            for options, attention, zeros in variants[: 4 if span == "buckets" else 1]:
                yield layer_case(
                    Positioned(attention, positions, site),
                    f"{which}, {span}{options}, masked, dropout",
                    subject="DisentangledAttention", entries=SOME, x=x, zeros=zeros,
                )  # fmt: skip
        blocks: list[Any] = [bert_block(CONFIG) for _ in range(2)]
        for block in blocks:
            block.attention.sublayer = _disentangled()
        recomputed = [layers.recomputed(block) for block in blocks]
        encoder = DisentangledEncoder(recomputed if some else blocks, positions=spans["buckets"])
        name = "recomputed, " if some else ""
        variant = f"{which}, {name}buckets, masked, dropout"
        yield encoder_case(encoder, variant, site, x=x, zeros=())
