"""BERT's pre-training step in JAX under `jit`, with minibert's parameter names."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from minibert import BertForMaskedLM
from minibert.functional import IGNORED
from minibert.runtime.threads import usable_cores

CLIP, DECAY, BETA1, BETA2, EPS = 1.0, 0.01, 0.9, 0.999, 1e-8
jax.config.update("jax_default_prng_impl", "rbg")  # faster than the default


class Jax:
    """The training step as one compiled function of a donated state.

    Args:
        config (BertConfig): sizes of the model.
        seed (int): seed of the weights and of dropout.
    """

    def __init__(self, config, seed=0):
        ours = BertForMaskedLM(config, seed=seed).params
        weights = {name: jnp.array(array) for name, array in ours.items()}
        zeros = partial(jax.tree.map, jnp.zeros_like)
        self.state = weights, zeros(weights), zeros(weights), jnp.array(0), jax.random.key(seed)
        loss = partial(masked_loss, config)
        self._step = jax.jit(partial(step, loss), donate_argnums=0)
        self._loss = jax.jit(loss)
        self.about = f"JAX {jax.__version__} under jit, its own pool of {usable_cores()} threads"

    def step(self, ids, labels, rate=1e-4):
        """Train on a batch of masked sequences (B, T)."""
        self.state = jax.block_until_ready(self._step(self.state, rate, *batch(ids, labels)))

    def loss(self, ids, labels):
        """Return the loss of masked sequences, without dropout."""
        return float(self._loss(self.state[0], *batch(ids, labels)))


def batch(ids, labels):
    """Return the ids (B, T), and the masked positions and their labels (M,)."""
    positions = np.flatnonzero(labels != IGNORED)
    return tuple(x.astype(np.int32) for x in (ids, positions, labels.reshape(-1)[positions]))


def masked_loss(config, p, ids, positions, targets, key=None):
    """Return the cross-entropy of the targets (M,) at their positions; with a key, with dropout."""
    keys = iter(() if key is None else jax.random.split(key, 3 * config.num_hidden_layers + 1))
    K, H = config.num_attention_heads, config.head_width
    B, T = ids.shape

    def dropout(x, rate):
        if key is None or rate == 0:
            return x
        return jnp.where(jax.random.bernoulli(next(keys), 1 - rate, x.shape), x / (1 - rate), 0)

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scale = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + config.layer_norm_eps)
        return centred * scale * p[f"{name}.weight"] + p[f"{name}.bias"]

    def heads(x, name):
        return linear(x, name).reshape(B, T, K, H).swapaxes(1, 2)  # (B, K, T, H)

    rate, table = config.hidden_dropout_prob, p["bert.embeddings.word_embeddings.weight"]
    x = table[ids] + p["bert.embeddings.position_embeddings.weight"][:T]
    x = x + p["bert.embeddings.token_type_embeddings.weight"][0]
    x = dropout(norm(x, "bert.embeddings.LayerNorm"), rate)  # (B, T, D)
    for layer in range(config.num_hidden_layers):
        block = f"bert.encoder.layer.{layer}."
        roles = (f"{block}attention.self.{role}" for role in ("query", "key", "value"))
        query, key_heads, value = (heads(x, role) for role in roles)
        scores = query @ key_heads.swapaxes(2, 3) / H**0.5  # (B, K, T, T)
        weights = dropout(jax.nn.softmax(scores), config.attention_probs_dropout_prob)
        out = (weights @ value).swapaxes(1, 2).reshape(B, T, K * H)
        out = dropout(linear(out, f"{block}attention.output.dense"), rate)
        x = norm(x + out, f"{block}attention.output.LayerNorm")
        active = jax.nn.gelu(linear(x, f"{block}intermediate.dense"), approximate=False)
        out = dropout(linear(active, f"{block}output.dense"), rate)
        x = norm(x + out, f"{block}output.LayerNorm")
    h = x.reshape(B * T, K * H)[positions]  # (M, D)
    h = jax.nn.gelu(linear(h, "cls.predictions.transform.dense"), approximate=False)
    h = norm(h, "cls.predictions.transform.LayerNorm")
    log_probs = jax.nn.log_softmax(h @ table.T + p["cls.predictions.bias"])  # (M, V)
    return -jnp.take_along_axis(log_probs, targets[:, None], axis=1).mean()


def step(loss, state, rate, *batch):
    """Return the state after one AdamW step with the clipped gradient."""
    weights, first, second, count, key = state
    key, own = jax.random.split(key)
    grads = jax.grad(loss)(weights, *batch, own)
    norm = jnp.sqrt(sum((g**2).sum() for g in grads.values()))
    grads = jax.tree.map(lambda g: g * jnp.minimum(1, CLIP / norm), grads)
    count = count + 1
    first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, grads)
    second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g**2, second, grads)

    def updated(name, p):
        m, v = first[name] / (1 - BETA1**count), second[name] / (1 - BETA2**count)
        decay = 0 if name.endswith(("bias", "LayerNorm.weight")) else DECAY
        return p - rate * (m / (jnp.sqrt(v) + EPS) + decay * p)

    return {name: updated(name, p) for name, p in weights.items()}, first, second, count, key
