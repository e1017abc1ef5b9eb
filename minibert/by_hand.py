"""All of BERT on one page, by hand: the forward pass, the backward pass and the training.

`python -m minibert.by_hand` trains a small BERT on this file, whose characters are its tokens, and
then lets it fill in characters that it does not see. Nothing is optimised, everything is float64,
and dropout is left out; otherwise it is BERT as published. The package is tested against this page.

Every operation is a pair. `f_forward(inputs) -> out, cache` computes. `f_backward(dout, cache)`,
right below it, is the chain rule: from dout = ∂loss/∂out it makes ∂loss/∂input, and it reads like
the forward from the last line to the first. Three rules are enough for most of it:

    out = A @ B         dA = dout @ Bᵀ,  dB = Aᵀ @ dout      the shapes permit nothing else
    x is used twice     dx = the sum of both gradients       residual connections, tied weights
    x is broadcast      dx = dout summed over that axis      biases, position embeddings

`p` is a plain dict of parameters under Hugging Face's names, `g` a second one of their gradients,
which start at 0; a backward adds to them, because a parameter may be used twice.

Shapes: B sequences, T tokens each, N = B·T, D hidden size, K heads, H = D/K, F feed-forward size,
L layers, V vocabulary, C classes, M masked positions; a linear map has I inputs and O outputs.

[1] Devlin et al. (2019), BERT. [2] Vaswani et al. (2017), Attention Is All You Need. [3] Ba, Kiros
and Hinton (2016), Layer Normalization. [4] Hendrycks and Gimpel (2016), GELUs. [5] Press and Wolf
(2017), Using the Output Embedding to Improve Language Models. [6] Loshchilov and Hutter (2019),
Decoupled Weight Decay Regularization. [7] Pascanu, Mikolov and Bengio (2013), On the Difficulty of
Training Recurrent Neural Networks.
"""

# ruff: noqa: PTH123, T201 (it imports only numpy and math, and it prints)

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Params = dict[str, Array]
Batch = tuple[Ids, Ids, Ids]  # token ids, segment ids, mask (1 token, 0 padding): (B, T) each

Pair = tuple[Array, Array]
AttentionCache = tuple[Array, Array, Array, Array]
HeadsCache = tuple[Array, AttentionCache, Array]
BlockCache = tuple[HeadsCache, Pair, Array, Pair, Array, Pair]
BodyCache = tuple[Ids, Ids, Pair, list[BlockCache]]
MLMCache = tuple[Array, Pair, Pair, Array]
LossCache = tuple[Array, Ids, float]

WORDS, POSITIONS, SEGMENTS = (
    f"bert.embeddings.{table}_embeddings.weight" for table in ("word", "position", "token_type")
)
ROLES = ("query", "key", "value")
TRANSFORM, VOCABULARY_BIAS = "cls.predictions.transform.", "cls.predictions.bias"
EPS = 1e-12  # BERT's, in every layer norm
IGNORED = -100  # the label of a position that does not count
PAD, CLS, SEP, MASK = range(4)  # the special tokens; ordinary ones have the ids from 4 to V - 1
erf = np.vectorize(math.erf, otypes=[np.float64])


def linear_forward(p: Params, name: str, x: Array) -> Pair:
    """Map the last axis of x: out = x Wᵀ + b; W is (O, I), a row for each output."""
    weight, bias = p[name + ".weight"], p[name + ".bias"]
    return x @ weight.T + bias, x  # (..., I) @ (I, O) + (O,) -> (..., O)


def linear_backward(dout: Array, x: Array, p: Params, g: Params, name: str) -> Array:
    """Undo out = x Wᵀ + b: add dW and db to g, return dx."""
    dout_rows = dout.reshape(-1, dout.shape[-1])  # (..., O) -> (N, O)
    x_rows = x.reshape(-1, x.shape[-1])  # (..., I) -> (N, I)
    g[name + ".bias"] += dout_rows.sum(axis=0)  # + b was broadcast: (N, O) -> (O,)
    g[name + ".weight"] += dout_rows.T @ x_rows  # (O, N) @ (N, I) -> (O, I)
    return dout @ p[name + ".weight"]  # (..., O) @ (O, I) -> (..., I)


def gelu_forward(x: Array) -> tuple[Array, Pair]:
    """Weigh x by Φ(x), the probability that a normal number is smaller; [4], section 2."""
    probability = (1 + erf(x / math.sqrt(2))) / 2  # Φ(x)
    return x * probability, (x, probability)


def gelu_backward(dout: Array, cache: Pair) -> Array:
    """Undo x · Φ(x). By the product rule, with Φ' = φ, its slope is Φ(x) + x · φ(x)."""
    x, probability = cache
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)  # φ(x)
    return dout * (probability + x * density)


def layer_norm_forward(p: Params, name: str, x: Array) -> tuple[Array, Pair]:
    """Give each token's vector mean 0 and variance 1, then scale and shift it; [3], eq. 4."""
    std = np.sqrt(x.var(axis=-1, keepdims=True) + EPS)  # σ, (..., 1)
    normed = (x - x.mean(axis=-1, keepdims=True)) / std  # x̂, (..., D)
    return normed * p[name + ".weight"] + p[name + ".bias"], (normed, std)


def layer_norm_backward(dout: Array, cache: Pair, p: Params, g: Params, name: str) -> Array:
    """Undo out = x̂ · weight + bias and x̂ = (x - mean) / σ.

    x reaches x̂ on three paths. Directly: dx̂ / σ. Through the mean, as ∂x̂ⱼ/∂mean = -1/σ and
    ∂mean/∂xᵢ = 1/D: -mean(dx̂) / σ. Through σ, as ∂x̂ⱼ/∂σ = -x̂ⱼ/σ and ∂σ/∂xᵢ = x̂ᵢ/D:
    -x̂ᵢ · mean(dx̂ · x̂) / σ. Together: dx̂ without its mean and its component along x̂, over σ.
    """
    normed, std = cache
    summed = tuple(range(dout.ndim - 1))  # all axes but the last
    g[name + ".bias"] += dout.sum(axis=summed)  # (..., D) -> (D,)
    g[name + ".weight"] += (dout * normed).sum(axis=summed)  # (..., D) -> (D,)
    dnormed = dout * p[name + ".weight"]
    mean = dnormed.mean(axis=-1, keepdims=True)  # (..., 1)
    along = (dnormed * normed).mean(axis=-1, keepdims=True)  # (..., 1)
    return (dnormed - mean - normed * along) / std


def softmax_forward(scores: Array, visible: Ids) -> Pair:
    """Turn scores into weights: wᵢ = exp(sᵢ) / Σⱼ exp(sⱼ) where visible, 0 elsewhere.

    Subtracting the maximum changes no weight and keeps exp from overflowing. Where nothing is
    visible, the finite floor avoids -inf - -inf, which is NaN, and all weights are 0.
    """
    scores = np.where(visible, scores, -np.inf)
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True, initial=-1e300))
    weights = exp / np.maximum(exp.sum(axis=-1, keepdims=True), 1)  # the maximum alone gives 1
    return weights, weights


def softmax_backward(dweights: Array, weights: Array) -> Array:
    """Undo the softmax. As ∂wⱼ/∂sᵢ = wⱼ (1[i = j] - wᵢ), dsᵢ = wᵢ (dwᵢ - Σⱼ dwⱼ wⱼ)."""
    return weights * (dweights - (dweights * weights).sum(axis=-1, keepdims=True))


def attention_forward(
    query: Array, key: Array, value: Array, mask: Ids
) -> tuple[Array, AttentionCache]:
    """Average the values by how well each query matches the keys; [2], eq. 1.

    out = softmax(Q Kᵀ / √H) V; query, key and value are (B, K, T, H), the mask is (B, T).
    """
    scale = 1 / math.sqrt(query.shape[-1])
    scores = query @ key.swapaxes(-1, -2) * scale  # (B, K, T, H) @ (B, K, H, T) -> (B, K, T, T)
    weights, _ = softmax_forward(scores, mask[:, None, None, :])  # (B, 1, 1, T) hides keys
    out = weights @ value  # (B, K, T, T) @ (B, K, T, H) -> (B, K, T, H)
    return out, (query, key, value, weights)


def attention_backward(dout: Array, cache: AttentionCache) -> tuple[Array, Array, Array]:
    """Undo out = weights V, the softmax, and scores = Q Kᵀ / √H; return dquery, dkey, dvalue."""
    query, key, value, weights = cache
    scale = 1 / math.sqrt(query.shape[-1])
    dvalue = weights.swapaxes(-1, -2) @ dout  # (B, K, T, T) @ (B, K, T, H) -> (B, K, T, H)
    dweights = dout @ value.swapaxes(-1, -2)  # (B, K, T, H) @ (B, K, H, T) -> (B, K, T, T)
    dscores = softmax_backward(dweights, weights) * scale
    dquery = dscores @ key  # (B, K, T, T) @ (B, K, T, H) -> (B, K, T, H)
    dkey = dscores.swapaxes(-1, -2) @ query  # (B, K, T, T) @ (B, K, T, H) -> (B, K, T, H)
    return dquery, dkey, dvalue


def split_heads(x: Array, K: int) -> Array:
    """Cut each token's vector into K pieces, one for each head."""
    B, T, D = x.shape
    return x.reshape(B, T, K, D // K).swapaxes(1, 2)  # (B, T, D) -> (B, T, K, H) -> (B, K, T, H)


def merge_heads(x: Array) -> Array:
    """Undo `split_heads`. Both only move numbers, so each is the other's backward."""
    B, K, T, H = x.shape
    return x.swapaxes(1, 2).reshape(B, T, K * H)  # (B, K, T, H) -> (B, T, K, H) -> (B, T, D)


def heads_forward(p: Params, name: str, x: Array, mask: Ids, K: int) -> tuple[Array, HeadsCache]:
    """Run K attentions, each on its own part of the vector, and mix them; [2], section 3.2.2."""
    query, key, value = (
        split_heads(linear_forward(p, f"{name}self.{role}", x)[0], K) for role in ROLES
    )  # (B, T, D) -> (B, K, T, H) each
    heads, attention_cache = attention_forward(query, key, value, mask)
    merged = merge_heads(heads)  # (B, K, T, H) -> (B, T, D)
    out, _ = linear_forward(p, name + "output.dense", merged)
    return out, (x, attention_cache, merged)


def heads_backward(dout: Array, cache: HeadsCache, p: Params, g: Params, name: str) -> Array:
    """Undo the mixing, the attention and the three maps of x, whose gradients are summed."""
    x, attention_cache, merged = cache
    dmerged = linear_backward(dout, merged, p, g, name + "output.dense")
    dheads = split_heads(dmerged, K=attention_cache[0].shape[1])  # (B, T, D) -> (B, K, T, H)
    dx = np.zeros_like(x)
    for role, dpart in zip(ROLES, attention_backward(dheads, attention_cache), strict=True):
        dx += linear_backward(merge_heads(dpart), x, p, g, f"{name}self.{role}")
    return dx


def block_forward(p: Params, name: str, x: Array, mask: Ids, K: int) -> tuple[Array, BlockCache]:
    """Let the tokens read each other, then transform each by itself; [2], section 3.1.

    h = layer_norm(x + heads(x)),  out = layer_norm(h + W₂ gelu(W₁ h)), biases not shown.
    """
    read, heads_cache = heads_forward(p, name + "attention.", x, mask, K)
    h, norm1_cache = layer_norm_forward(p, name + "attention.output.LayerNorm", x + read)
    wide, _ = linear_forward(p, name + "intermediate.dense", h)  # (B, T, D) -> (B, T, F)
    active, gelu_cache = gelu_forward(wide)
    narrow, _ = linear_forward(p, name + "output.dense", active)  # (B, T, F) -> (B, T, D)
    out, norm2_cache = layer_norm_forward(p, name + "output.LayerNorm", h + narrow)
    return out, (heads_cache, norm1_cache, h, gelu_cache, active, norm2_cache)


def block_backward(dout: Array, cache: BlockCache, p: Params, g: Params, name: str) -> Array:
    """Undo the block, its last line first; at each + the gradient flows both ways."""
    heads_cache, norm1_cache, h, gelu_cache, active, norm2_cache = cache
    dsum = layer_norm_backward(dout, norm2_cache, p, g, name + "output.LayerNorm")  # h + narrow
    dactive = linear_backward(dsum, active, p, g, name + "output.dense")
    dwide = gelu_backward(dactive, gelu_cache)
    dh = dsum + linear_backward(dwide, h, p, g, name + "intermediate.dense")
    dsum = layer_norm_backward(dh, norm1_cache, p, g, name + "attention.output.LayerNorm")
    return dsum + heads_backward(dsum, heads_cache, p, g, name + "attention.")  # x + read


def body_forward(p: Params, batch: Batch, K: int) -> tuple[Array, BodyCache]:
    """Embed the tokens ([1], figure 2) and run the blocks: return x (B, T, D)."""
    ids, types, mask = batch
    # (V, D) at (B, T) -> (B, T, D); (T, D), the same for all sequences; (2, D) at (B, T)
    summed = p[WORDS][ids] + p[POSITIONS][: ids.shape[1]] + p[SEGMENTS][types]
    x, norm_cache = layer_norm_forward(p, "bert.embeddings.LayerNorm", summed)
    caches: list[BlockCache] = []
    while (name := f"bert.encoder.layer.{len(caches)}.") + "output.dense.weight" in p:
        x, cache = block_forward(p, name, x, mask, K)
        caches.append(cache)
    return x, (ids, types, norm_cache, caches)


def body_backward(dx: Array, cache: BodyCache, p: Params, g: Params) -> None:
    """Undo the blocks, the last one first, then the embeddings."""
    ids, types, norm_cache, caches = cache
    for i in reversed(range(len(caches))):
        dx = block_backward(dx, caches[i], p, g, f"bert.encoder.layer.{i}.")
    dsum = layer_norm_backward(dx, norm_cache, p, g, "bert.embeddings.LayerNorm")
    # Not g[WORDS][ids] += dsum, which would add only one of the rows of a repeated id.
    np.add.at(g[WORDS], ids, dsum)  # (B, T, D) into (V, D) at (B, T)
    np.add.at(g[SEGMENTS], types, dsum)  # (B, T, D) into (2, D) at (B, T)
    g[POSITIONS][: ids.shape[1]] += dsum.sum(axis=0)  # was broadcast: (B, T, D) -> (T, D)


def mlm_head_forward(p: Params, x: Array) -> tuple[Array, MLMCache]:
    """Score every token of the vocabulary at every position; [1], section 3.1.

    logits = layer_norm(gelu(linear(x))) Eᵀ + b, where E is the word embeddings again; [5].
    """
    dense, _ = linear_forward(p, TRANSFORM + "dense", x)
    active, gelu_cache = gelu_forward(dense)
    h, norm_cache = layer_norm_forward(p, TRANSFORM + "LayerNorm", active)
    logits = h @ p[WORDS].T + p[VOCABULARY_BIAS]  # (B, T, D) @ (D, V) + (V,) -> (B, T, V)
    return logits, (x, gelu_cache, norm_cache, h)


def mlm_head_backward(dlogits: Array, cache: MLMCache, p: Params, g: Params) -> Array:
    """Undo the head; E gets this gradient and, in `body_backward`, that of the embeddings."""
    x, gelu_cache, norm_cache, h = cache
    rows = dlogits.reshape(-1, dlogits.shape[-1])  # (B, T, V) -> (N, V)
    g[VOCABULARY_BIAS] += rows.sum(axis=0)  # (N, V) -> (V,)
    g[WORDS] += rows.T @ h.reshape(-1, h.shape[-1])  # (V, N) @ (N, D) -> (V, D)
    dh = dlogits @ p[WORDS]  # (B, T, V) @ (V, D) -> (B, T, D)
    dactive = layer_norm_backward(dh, norm_cache, p, g, TRANSFORM + "LayerNorm")
    return linear_backward(gelu_backward(dactive, gelu_cache), x, p, g, TRANSFORM + "dense")


def classifier_forward(p: Params, x: Array) -> tuple[Array, Pair]:
    """Score each class from the first token, [CLS]: linear(tanh(linear(x₀))); [1], section 4.1."""
    dense, _ = linear_forward(p, "bert.pooler.dense", x[:, 0])  # (B, T, D) -> (B, D)
    pooled = np.tanh(dense)
    logits, _ = linear_forward(p, "classifier", pooled)  # (B, D) -> (B, C)
    return logits, (x, pooled)


def classifier_backward(dlogits: Array, cache: Pair, p: Params, g: Params) -> Array:
    """Undo both maps and tanh, whose slope is 1 - tanh²; only [CLS] gets a gradient."""
    x, pooled = cache
    ddense = linear_backward(dlogits, pooled, p, g, "classifier") * (1 - pooled**2)
    dx = np.zeros_like(x)
    dx[:, 0] = linear_backward(ddense, x[:, 0], p, g, "bert.pooler.dense")  # (B, D)
    return dx


def cross_entropy_forward(
    logits: Array, labels: Ids, denominator: float | None = None
) -> tuple[float, LossCache]:
    """Return -Σ log softmax(logits)[label] / n over the labels that count.

    n is their number M unless given: parts of a batch, divided by the whole's n, add up.
    """
    counted = logits[labels != IGNORED]  # (..., C) -> (M, C)
    right = labels[labels != IGNORED]  # (...) -> (M,)
    n = denominator or max(len(right), 1)
    shifted = counted - counted.max(axis=-1, keepdims=True)  # (M, C)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    loss = -log_softmax[np.arange(len(right)), right].sum() / n
    return float(loss), (log_softmax, labels, n)


def cross_entropy_backward(cache: LossCache) -> Array:
    """Undo -s_label + log Σⱼ exp(sⱼ): its slope in s is softmax - one_hot(label)."""
    log_softmax, labels, n = cache
    right = labels[labels != IGNORED]  # (M,)
    dlogits = np.zeros((*labels.shape, log_softmax.shape[-1]))  # (..., C)
    one_hot = np.eye(log_softmax.shape[-1])[right]  # (M, C)
    dlogits[labels != IGNORED] = (np.exp(log_softmax) - one_hot) / n
    return dlogits


def loss_and_grads(
    p: Params, batch: Batch, labels: Ids, K: int, denominator: float | None = None
) -> tuple[float, Params]:
    """Return loss and gradients: of masked LM for labels (B, T), of classification for (B,)."""
    g = {name: np.zeros_like(array) for name, array in p.items()}
    x, body_cache = body_forward(p, batch, K)
    if labels.ndim == 2:
        logits, mlm_cache = mlm_head_forward(p, x)
        loss, loss_cache = cross_entropy_forward(logits, labels, denominator)
        dx = mlm_head_backward(cross_entropy_backward(loss_cache), mlm_cache, p, g)
    else:
        logits, classifier_cache = classifier_forward(p, x)
        loss, loss_cache = cross_entropy_forward(logits, labels, denominator)
        dx = classifier_backward(cross_entropy_backward(loss_cache), classifier_cache, p, g)
    body_backward(dx, body_cache, p, g)
    return loss, g


def initial_params(V: int, D: int, F: int, L: int, T: int, C: int, seed: int) -> Params:
    """Draw weights from N(0, 0.02²); biases start at 0, layer norms' weights at 1; [1]'s code."""
    tables = {WORDS: (V, D), POSITIONS: (T, D), SEGMENTS: (2, D)}
    maps = {"bert.pooler.dense": (D, D), "classifier": (C, D), TRANSFORM + "dense": (D, D)}
    norms = ["bert.embeddings.LayerNorm", TRANSFORM + "LayerNorm"]
    for name in (f"bert.encoder.layer.{i}." for i in range(L)):
        maps |= {f"{name}attention.self.{role}": (D, D) for role in ROLES}
        maps |= {name + "attention.output.dense": (D, D)}
        maps |= {name + "intermediate.dense": (F, D), name + "output.dense": (D, F)}
        norms += [name + "attention.output.LayerNorm", name + "output.LayerNorm"]
    rng = np.random.default_rng(seed)
    weights = tables | {name + ".weight": shape for name, shape in maps.items()}
    p = {name: rng.normal(0, 0.02, shape) for name, shape in weights.items()}
    p |= {name + ".bias": np.zeros(rows) for name, (rows, _) in maps.items()}
    p |= {name + ".bias": np.zeros(D) for name in norms} | {VOCABULARY_BIAS: np.zeros(V)}
    return p | {name + ".weight": np.ones(D) for name in norms}


def mask_tokens(ids: Ids, V: int, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Choose 15 % of the tokens as targets, and hide most of them; [1], section 3.1.

    Of the targets 80 % are shown as [MASK], 10 % as a random token, 10 % as they are.
    """
    targets = (ids > MASK) & (
        rng.random(ids.shape) < 0.15
    )  # (B, T); special tokens are never hidden
    draw = rng.random(ids.shape)
    noise = rng.integers(MASK + 1, V, ids.shape)
    shown = np.where(targets & (draw < 0.8), MASK, ids)
    shown = np.where(targets & (draw >= 0.9), noise, shown)
    return shown, np.where(targets, ids, IGNORED)


def clip_gradients(g: Params, longest: float = 1.0) -> float:
    """Shorten all gradients by one factor, so that their common norm is at most `longest`; [7]."""
    norm = math.sqrt(sum(float((array**2).sum()) for array in g.values()))
    for array in g.values():
        array *= longest / max(norm, longest)
    return norm


def adamw_update(p: Params, g: Params, m: Params, v: Params, step: int, rate: float) -> None:
    """Take step 1, 2, 3, ... against the gradient; [6], algorithm 2.

    m and v are running means of g and g². They start at 0, so after t steps their weights sum to
    1 - βᵗ, by which m̂ and v̂ divide. Biases and layer norms do not decay; [1]'s code.
    """
    for name in p:
        m[name] = 0.9 * m[name] + 0.1 * g[name]
        v[name] = 0.999 * v[name] + 0.001 * g[name] ** 2
        m_hat, v_hat = m[name] / (1 - 0.9**step), v[name] / (1 - 0.999**step)
        decay = 0.0 if name.endswith(("bias", "LayerNorm.weight")) else 0.01
        p[name] -= rate * (m_hat / (np.sqrt(v_hat) + 1e-8) + decay * p[name])


def linear_schedule(step: int, total: int, warmup: int, peak: float) -> float:
    """Return the learning rate of step 0, 1, 2, ...: up in a straight line, then down to 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (total - step) / (total - warmup)


def main(steps: int = 600, seed: int = 0) -> None:
    """Train on this file's characters, print the loss, and fill in hidden characters."""
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    characters = sorted(set(text))
    text_ids = np.array([characters.index(character) for character in text]) + MASK + 1
    shares = np.unique(text_ids, return_counts=True)[1] / len(text_ids)
    unigram = -(shares * np.log(shares)).sum()
    rng = np.random.default_rng(seed)
    V, B, T, D, K, F, L = MASK + 1 + len(characters), 16, 64, 64, 4, 128, 2
    p = initial_params(V, D, F, L, T, C=2, seed=seed)
    m, v = ({name: np.zeros_like(array) for name, array in p.items()} for _ in range(2))

    def batch_at(starts: Ids) -> Ids:  # [CLS], T - 2 characters, [SEP]
        windows = text_ids[starts[:, None] + np.arange(T - 2)]  # (N,) at (B, T - 2)
        return np.pad(windows, ((0, 0), (1, 1)), constant_values=(CLS, SEP))  # (B, T)

    losses = []
    for step in range(steps):
        ids, labels = mask_tokens(batch_at(rng.integers(0, len(text) - T, B)), V, rng)
        loss, g = loss_and_grads(p, (ids, np.zeros_like(ids), np.ones_like(ids)), labels, K)
        clip_gradients(g)
        adamw_update(p, g, m, v, step + 1, linear_schedule(step, steps, steps // 10 + 1, 3e-3))
        losses.append(loss)
        if (step + 1) % max(steps // 10, 1) == 0:
            recent = np.mean(losses[-max(steps // 10, 1) :])
            print(f"step {step + 1:4}: loss {recent:.3f} (unigram baseline {unigram:.3f})")
    starts = np.array([i for i in range(len(text)) if text.startswith("\ndef ", i)][::8]) + 1
    ids = batch_at(starts)
    hidden = (ids > MASK) & (rng.random(ids.shape) < 0.15)  # (B, T)
    shown = np.where(hidden, MASK, ids)
    x, _ = body_forward(p, (shown, np.zeros_like(ids), np.ones_like(ids)), K)
    guesses = np.where(
        hidden, mlm_head_forward(p, x)[0].argmax(axis=-1), ids
    )  # (B, T, V) -> (B, T)
    for row in range(len(ids)):
        for what, tokens in (("hidden", shown), ("filled", guesses)):
            print(
                what,
                "".join(([*"[CS?"] + characters)[i] for i in tokens[row, 1:-1]).replace("\n", " "),
            )
    print((guesses == ids)[hidden].mean())


if __name__ == "__main__":
    main()
