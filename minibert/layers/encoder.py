"""The encoder: a stack of blocks, each one attention and one feed-forward sublayer."""

import copy

import numpy as np

from minibert.functional import embedding_backward, embedding_forward
from minibert.layers.attention import SelfAttention
from minibert.layers.basic import LayerNorm
from minibert.layers.feed_forward import FeedForward
from minibert.parameters import prefixed


class EncoderBlock:
    """Two sublayers, each added to its input and then normalised (post-norm).

        h = layer_norm(x + attention(x)),   out = layer_norm(h + feed_forward(h))

    Vaswani et al. (2017), section 3.1.

    Args:
        config: the model's `BertConfig`.
    """

    def __init__(self, config):
        width, eps = config.hidden_size, config.layer_norm_eps
        self.attention = SelfAttention(config)
        self.attention_norm = LayerNorm("output.LayerNorm", width, eps)
        self.feed_forward = FeedForward(config)
        self.norm = LayerNorm("output.LayerNorm", width, eps)

    def shapes(self):
        """Return the shapes of both sublayers and both norms."""
        attention = {**self.attention.shapes(), **self.attention_norm.shapes()}
        return {
            **prefixed("attention.", attention),
            **self.feed_forward.shapes(),
            **self.norm.shapes(),
        }

    def forward(self, params, x, bias=None, rng=None, rows=None):
        """Transform a batch; with `rows`, only those rows of it.

        Keys and values are made for every token in either case, so the rows come out the same.

        Args:
            params: in this block's scope.
            x: (B, T, D).
            bias: broadcasts against (B, K, R, T); see `functional.attention_forward`.
            rng: of the dropout.
            rows: (B, R) of integers from 0 to T - 1, the tokens to compute; None: all, R = T.

        Returns:
            out (B, R, D), and the cache.
        """
        asking = x if rows is None else take_rows(x, rows)  # (B, R, D)
        read, attention_cache = self.attention.forward(
            params.scope("attention."), asking, x, bias, rng
        )
        h, attention_norm_cache = self.attention_norm.forward(
            params.scope("attention."), asking + read
        )
        thought, feed_forward_cache = self.feed_forward.forward(params, h, rng)
        out, norm_cache = self.norm.forward(params, h + thought)
        return out, (attention_cache, attention_norm_cache, feed_forward_cache, norm_cache, rows)

    def backward(self, dout, cache, params, grads):
        """Gradient of `forward`: returns dx (B, T, D)."""
        attention_cache, attention_norm_cache, feed_forward_cache, norm_cache, rows = cache
        dh = self.norm.backward(dout, norm_cache, params, grads)
        # h reaches the sum twice: as it is, and through the feed-forward sublayer.
        dh = dh + self.feed_forward.backward(dh, feed_forward_cache, params, grads)
        params, grads = params.scope("attention."), grads.scope("attention.")
        dsum = self.attention_norm.backward(dh, attention_norm_cache, params, grads)
        dasking, dx = self.attention.backward(dsum, attention_cache, params, grads)
        if rows is None:
            dx += dsum  # asking + read
        else:
            _add_rows(dasking + dsum, rows, dx)
        return dx

    def attention_weights(self, cache):
        """The attention weights (B, K, R, T) in the cache of `forward`."""
        return self.attention.weights(cache[0])


class RecomputedBlock(EncoderBlock):
    """`EncoderBlock` that keeps its input alone, and computes the rest again on the way back.

    Less memory for a third more time: Chen et al. (2016), section 4. The dropout is replayed, so
    the gradients are the same to the bit.
    """

    def forward(self, params, x, bias=None, rng=None, rows=None):
        """Transform a batch as `EncoderBlock` does; the cache is what came in."""
        before = copy.deepcopy(rng)
        out, _ = super().forward(params, x, bias, rng, rows)
        return out, (x, bias, before, rows)

    def backward(self, dout, cache, params, grads):
        """Gradient of `forward`: returns dx (B, T, D)."""
        return super().backward(dout, self._again(params, cache), params, grads)

    def _again(self, params, cache):
        x, bias, before, rows = cache
        return super().forward(params, x, bias, copy.deepcopy(before), rows)[1]


class Encoder:
    """L blocks, one after the other.

    Args:
        config: the model's `BertConfig`.  block: the class of the blocks.
        frozen: how many of the lowest blocks only compute; their caches are None, and `backward`
            ends above them.  lean: the class of these; None if there are none.
    """

    def __init__(self, config, block=EncoderBlock, frozen=0, lean=None):
        kinds = [lean] * frozen + [block] * (config.num_hidden_layers - frozen)
        self.blocks, self.frozen = [kind(config) for kind in kinds], frozen

    def shapes(self):
        """Return the shapes of all blocks."""
        return {
            name: shape
            for i, block in enumerate(self.blocks)
            for name, shape in prefixed(f"layer.{i}.", block.shapes()).items()
        }

    def steps(self, params, x, bias=None, rng=None, rows=None):
        """Yield each block's output and cache in turn.

        Whoever trains keeps the caches; whoever predicts lets them go, and needs the memory of one.
        With `rows` (B, R), the last block computes only these rows; see `EncoderBlock.forward`.
        """
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            scope = params.scope(f"layer.{i}.")
            x, cache = block.forward(scope, x, bias, rng, rows if i == last else None)
            yield x, cache if i >= self.frozen else None

    def backward(self, dx, caches, params, grads):
        """Gradient of the stack, from the caches of all steps: returns dx (B, T, D)."""
        for i in reversed(range(self.frozen, len(self.blocks))):
            scope = f"layer.{i}."
            dx = self.blocks[i].backward(dx, caches[i], params.scope(scope), grads.scope(scope))
        return dx


def _flat(rows, length):
    """Number the rows (B, R) of sequences `length` long as rows of the flattened batch."""
    return rows + length * np.arange(len(rows))[:, None]


def take_rows(x, rows):
    """Gather (B, R) rows of x (B, T, D) -> (B, R, D).

    That is an embedding lookup in the batch's own rows: a row may be asked for twice, so its
    gradient must be a sum.
    """
    return embedding_forward(_flat(rows, x.shape[1]), x.reshape(-1, x.shape[-1]))[0]


def _add_rows(drows, rows, dx):
    """Gradient of `take_rows`: add drows (B, R, D) into the rows of dx (B, T, D)."""
    embedding_backward(drows, _flat(rows, dx.shape[1]), dx.reshape(-1, dx.shape[-1]))
