"""Proofs of `minibert.layers`: every parameter and every input, element by element."""

from dataclasses import replace
from functools import partial

import numpy as np

from minibert import functional as f
from minibert import layers
from minibert.gradcheck import check_pair
from minibert.parameters import Parameters
from minibert.proofs.cases import TOLERANCE, ZEROS, Case, added, numbers, replayed
from minibert.proofs.examples import (
    CONFIG,
    IDS,
    MASK,
    ROWS,
    TYPES,
    B,
    C,
    D,
    F,
    R,
    T,
    V,
    away_from_initial,
)


def layer_cases():
    """Yield a case for each layer, with its switches."""
    x, bias = numbers(B, T, D), f.padding_bias(MASK, np.float64)
    yield _layer("Linear", layers.Linear("dense", D, F), x=x)
    yield _layer("LayerNorm", layers.LayerNorm("LayerNorm", D, 1e-12), x=x)
    yield _layer("Pooler", layers.Pooler(D), x=x)
    scores = layers.Scores("classifier", D, C, rate=0.4)
    yield _layer("Scores, dropout", scores, _dropping(scores.forward), x=x)
    pooled = layers.PooledScores("classifier", D, C, rate=0.4)
    yield _layer("PooledScores, dropout", pooled, _dropping(pooled.forward), x=x)
    vocabulary = layers.VocabularyScores(CONFIG)
    yield _layer("VocabularyScores", vocabulary, more={vocabulary.tied: (V, D)}, x=x)
    feed_forward = layers.FeedForward(CONFIG)
    yield _layer("FeedForward", feed_forward, x=x)
    yield _layer("FeedForward, dropout", feed_forward, _dropping(feed_forward.forward), x=x)
    for positions in ("absolute", "sinusoidal"):
        embeddings = layers.Embeddings(replace(CONFIG, position_embedding_type=positions))
        forward = _dropping(embeddings.forward, ids=IDS, types=TYPES)
        yield _layer(f"Embeddings, {positions}, dropout", embeddings, forward)
    attention = layers.SelfAttention(CONFIG)
    forward = _dropping(attention.forward, bias=bias)
    asking = numbers(B, R, D, seed=1)
    yield _layer("SelfAttention, masked, dropout", attention, forward, asking=asking, x=x)
    block, encoder = layers.EncoderBlock(CONFIG), layers.Encoder(CONFIG)
    for name, rows in (("all rows", None), ("some rows", ROWS)):
        yield _layer(f"EncoderBlock, {name}", block, partial(block.forward, rows=rows), x=x)
        forward = _dropping(block.forward, bias=bias, rows=rows)
        yield _layer(f"EncoderBlock, {name}, masked, dropout", block, forward, x=x)
        again = layers.RecomputedBlock(CONFIG)
        forward = _dropping(again.forward, bias=bias, rows=rows)
        yield _layer(f"RecomputedBlock, {name}, masked, dropout", again, forward, x=x)
        forward = _dropping(partial(_run_encoder, encoder), bias=bias, rows=rows)
        yield _layer(f"Encoder, {name}, masked, dropout", encoder, forward, entries=9, x=x)


def _layer(name, layer, forward=None, entries=None, more=(), **inputs):
    """The case of a layer: every parameter and every input, element by element."""

    def backward(dout, cache, params, **_):
        dinputs, grads = added(params, partial(layer.backward, dout, cache, params))
        dinputs = dinputs if isinstance(dinputs, tuple) else (dinputs,)
        return {"params": grads, **dict(zip(inputs, dinputs, strict=False))}

    arrays = {"params": away_from_initial(Parameters({**layer.shapes(), **dict(more)})), **inputs}
    check = partial(check_pair, forward or layer.forward, backward, arrays, entries=entries)
    return Case(name, partial(check, zeros=ZEROS, tolerance=TOLERANCE))


def _dropping(forward, **options):
    """The same forward with dropout on, its generator replayed at each call."""
    return lambda **inputs: forward(**inputs, **options, rng=replayed())


def _run_encoder(encoder, params, x, **options):
    outputs, caches = zip(*encoder.steps(params, x, **options), strict=True)
    return outputs[-1], caches
