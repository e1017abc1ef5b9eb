"""Proofs of `minibert.layers`: every parameter and every input, element by element."""

from dataclasses import replace
from functools import partial

from minibert import functional as f
from minibert import layers
from minibert.gradcheck import away_from_initial, check_layer
from minibert.parameters import Parameters
from minibert.testing.cases.examples import CONFIG, IDS, MASK, ROWS, TYPES, B, C, D, F, R, T, V
from minibert.testing.cases.records import ZEROS, Case, numbers, replayed


def layer_cases():
    """Yield a case for each layer, with its switches."""
    x = numbers(B, T, D)
    yield _layer(layers.Linear("dense", D, F), x=x)
    yield _layer(layers.LayerNorm("LayerNorm", D, 1e-12), x=x)
    yield _layer(layers.Pooler(D), x=x)
    for kind in (layers.Scores, layers.PooledScores):
        scores = kind("classifier", D, C, rate=0.4)
        yield _layer(scores, "dropout", _dropping(scores.forward), x=x)
    vocabulary = layers.VocabularyScores(CONFIG)
    table = {vocabulary.tied: (V, D)}  # the word embeddings: the scores have none of their own
    yield _layer(vocabulary, "tied", more=table, x=x)
    feed_forward = layers.FeedForward(CONFIG)
    yield _layer(feed_forward, x=x)
    yield _layer(feed_forward, "dropout", _dropping(feed_forward.forward), x=x)
    for positions in ("absolute", "sinusoidal"):
        embeddings = layers.Embeddings(replace(CONFIG, position_embedding_type=positions))
        forward = _dropping(embeddings.forward, ids=IDS, types=TYPES)
        yield _layer(embeddings, f"{positions}, dropout", forward)
    yield from _attention_cases(x)
    yield from _encoder_cases(x)


def _attention_cases(x):
    bias, asking = f.padding_bias(MASK, x.dtype), numbers(B, R, D, seed=1)
    for how, config in (("", CONFIG), ("one head, ", replace(CONFIG, num_attention_heads=1))):
        attention = layers.SelfAttention(config)
        forward = _dropping(attention.forward, bias=bias)
        yield _layer(attention, how + "masked, dropout", forward, asking=asking, x=x)


def _encoder_cases(x):
    bias = f.padding_bias(MASK, x.dtype)
    block, again = layers.EncoderBlock(CONFIG), layers.RecomputedBlock(CONFIG)
    encoder = layers.Encoder(CONFIG)
    for which, rows in (("all rows", None), ("some rows", ROWS)):
        yield _layer(block, which, partial(block.forward, rows=rows), x=x)
        how = f"{which}, masked, dropout"
        for kind in (block, again):
            yield _layer(kind, how, _dropping(kind.forward, bias=bias, rows=rows), x=x)
        forward = _dropping(partial(_run_encoder, encoder), bias=bias, rows=rows)
        yield _layer(encoder, how, forward, entries=9, x=x)


def _layer(layer, how="", forward=None, entries=None, more=(), **inputs):
    """The case of a layer: every parameter and every input, element by element."""
    params = away_from_initial(Parameters({**layer.shapes(), **dict(more)}))
    check = partial(
        check_layer, layer, inputs, params, forward=forward, entries=entries, zeros=ZEROS
    )
    return Case(type(layer).__name__, how, check)


def _dropping(forward, **options):
    """The same forward with dropout on, its generator replayed at each call."""
    return lambda **inputs: forward(**inputs, **options, rng=replayed())


def _run_encoder(encoder, params, x, **options):
    outputs, caches = zip(*encoder.steps(params, x, **options), strict=True)
    return outputs[-1], caches
