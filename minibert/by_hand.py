"""All of BERT on one page, by hand: the forward pass, the backward pass and the training.

`python -m minibert.by_hand` trains a small BERT on the words of this file, whose letters are the
tokens, and then lets it fill in a hidden letter of each. Nothing is optimised, and all numbers are
float64. Dropout is left out (it is x · mask / (1 - rate), forward and backward); the rest is BERT
as published. The package, which computes the same faster, is tested against this page.

Every operation is a pair. `f_forward(inputs) -> out, cache` computes. `f_backward(dout, cache)`,
right below it, is the chain rule, which reads like the forward from the last line to the first.
Gradients are named after their variable: dx is ∂loss/∂x, shaped like x. Three rules do most of it:

    out = A @ B        dA = dout @ Bᵀ,  dB = Aᵀ @ dout      the shapes permit nothing else
    x is used twice    dx = the sum of both gradients       residual connections, tied weights
    x is broadcast     dx = dout summed over that axis      biases, position embeddings

`p` is a dict of parameters under Hugging Face's names, and `g` one of their gradients, which start
at 0: a backward adds to them, because a parameter may be used twice.

Shapes: B sequences, T tokens each, N = B·T, D hidden size, K heads, H = D/K, F feed-forward size,
L layers, V vocabulary, C classes, M masked positions; a linear map has I inputs and O outputs.

[1] Devlin et al. (2019), BERT. [2] Vaswani et al. (2017), Attention Is All You Need. [3] Ba, Kiros
and Hinton (2016), Layer Normalization. [4] Hendrycks and Gimpel (2016), GELUs. [5] Press and Wolf
(2017), Using the Output Embedding. [6] Loshchilov and Hutter (2019), Decoupled Weight Decay.
[7] Pascanu, Mikolov and Bengio (2013), On the Difficulty of Training Recurrent Neural Networks.
"""

# ruff: noqa: PTH123, T201 (this file imports only numpy and math, and prints its results)
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Params = dict[str, Array]
Batch = tuple[Ids, Ids, Ids]  # token ids, segment ids, mask (1 token, 0 padding): (B, T) each
Cache = tuple[Array, ...]  # arrays of the forward that the backward needs
HeadsCache = tuple[Array, Cache, Array]
BlockCache = tuple[HeadsCache, Cache, Array, Cache, Array, Cache]
BodyCache = tuple[Ids, Ids, Cache, list[BlockCache]]

WORD = "bert.embeddings.word_embeddings.weight"  # (V, D)
POSITION = "bert.embeddings.position_embeddings.weight"  # (T, D), T the longest sequence
SEGMENT = "bert.embeddings.token_type_embeddings.weight"  # (2, D)
ROLES = ("self.query", "self.key", "self.value")
TRANSFORM, VOCABULARY_BIAS = "cls.predictions.transform.", "cls.predictions.bias"
EPS = 1e-12  # BERT's, in every layer norm
IGNORED = -100  # the label of a position that does not count
PAD, CLS, SEP, MASK = range(4)  # the special tokens; ordinary ones have the ids from 4 to V - 1
erf = np.vectorize(math.erf, otypes=[np.float64])


def linear_forward(p: Params, name: str, x: Array) -> tuple[Array, Array]:
    """Map the last axis of x: out = x Wᵀ + b; W is (O, I), a row for each output."""
    return x @ p[name + ".weight"].T + p[name + ".bias"], x  # (..., I) @ (I, O) -> (..., O)


def linear_backward(dout: Array, x: Array, p: Params, g: Params, name: str) -> Array:
    """Undo out = x Wᵀ + b: add dW and db to g, return dx."""
    dout_rows = dout.reshape(-1, dout.shape[-1])  # (..., O) -> (N, O)
    x_rows = x.reshape(-1, x.shape[-1])  # (..., I) -> (N, I)
    g[name + ".bias"] += dout_rows.sum(axis=0)  # + b was broadcast: (N, O) -> (O,)
    g[name + ".weight"] += dout_rows.T @ x_rows  # (O, N) @ (N, I) -> (O, I)
    return dout @ p[name + ".weight"]  # (..., O) @ (O, I) -> (..., I)


def gelu_forward(x: Array) -> tuple[Array, Cache]:
    """Weigh x by Φ(x), the probability that a normal number is smaller; [4], section 2."""
    probability = (1 + erf(x / math.sqrt(2))) / 2  # Φ(x)
    return x * probability, (x, probability)


def gelu_backward(dout: Array, cache: Cache) -> Array:
    """Undo x · Φ(x). By the product rule, with Φ' = φ, its slope is Φ(x) + x · φ(x)."""
    x, probability = cache
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)  # φ(x)
    return dout * (probability + x * density)


def layer_norm_forward(p: Params, name: str, x: Array) -> tuple[Array, Cache]:
    """Give each token's vector mean 0 and variance 1, then scale and shift it; [3], eq. 4."""
    std = np.sqrt(x.var(axis=-1, keepdims=True) + EPS)  # σ, (..., 1)
    normed = (x - x.mean(axis=-1, keepdims=True)) / std  # x̂, (..., D)
    return normed * p[name + ".weight"] + p[name + ".bias"], (normed, std)


def layer_norm_backward(dout: Array, cache: Cache, p: Params, g: Params, name: str) -> Array:
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
    mean: Array = dnormed.mean(axis=-1, keepdims=True)  # (..., 1)
    along: Array = (dnormed * normed).mean(axis=-1, keepdims=True)  # (..., 1)
    return (dnormed - mean - normed * along) / std


def softmax_forward(scores: Array, visible: Ids) -> tuple[Array, Array]:
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
    mean: Array = (dweights * weights).sum(axis=-1, keepdims=True)  # (..., 1)
    return weights * (dweights - mean)


def attention_forward(q: Array, k: Array, v: Array, mask: Ids) -> tuple[Array, Cache]:
    """Average the values v by how well each query q matches the keys k; [2], eq. 1.

    out = softmax(q kᵀ / √H) v for each head; q, k and v are (B, K, T, H), the mask is (B, T).
    """
    scores = q @ k.swapaxes(-1, -2)  # (B, K, T, H) @ (B, K, H, T) -> (B, K, T, T)
    scores /= math.sqrt(q.shape[-1])
    weights, _ = softmax_forward(scores, mask[:, None, None, :])  # (B, 1, 1, T): it hides keys
    out = weights @ v  # (B, K, T, T) @ (B, K, T, H) -> (B, K, T, H)
    return out, (q, k, v, weights)


def attention_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Undo out = weights v, the softmax, and scores = q kᵀ / √H."""
    q, k, v, weights = cache
    dv = weights.swapaxes(-1, -2) @ dout  # (B, K, T, T) @ (B, K, T, H) -> (B, K, T, H)
    dweights = dout @ v.swapaxes(-1, -2)  # (B, K, T, H) @ (B, K, H, T) -> (B, K, T, T)
    dscores = softmax_backward(dweights, weights) / math.sqrt(q.shape[-1])
    dq = dscores @ k  # (B, K, T, T) @ (B, K, T, H) -> (B, K, T, H)
    dk = dscores.swapaxes(-1, -2) @ q  # (B, K, T, T) @ (B, K, T, H) -> (B, K, T, H)
    return dq, dk, dv


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
    q, k, v = (split_heads(linear_forward(p, name + role, x)[0], K) for role in ROLES)
    heads, attention_cache = attention_forward(q, k, v, mask)  # (B, K, T, H) each
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
        dx += linear_backward(merge_heads(dpart), x, p, g, name + role)
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
    summed = p[WORD][ids] + p[POSITION][: ids.shape[1]] + p[SEGMENT][types]
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
    # Not g[WORD][ids] += dsum, which would add only one of the rows of a repeated id.
    np.add.at(g[WORD], ids, dsum)  # (B, T, D) into (V, D) at (B, T)
    np.add.at(g[SEGMENT], types, dsum)  # (B, T, D) into (2, D) at (B, T)
    g[POSITION][: ids.shape[1]] += dsum.sum(axis=0)  # was broadcast: (B, T, D) -> (T, D)


def mlm_head_forward(p: Params, x: Array) -> tuple[Array, Cache]:
    """Score every token of the vocabulary at every position; [1], section 3.1.

    logits = layer_norm(gelu(linear(x))) Eᵀ + b, where E is the word embeddings again; [5].
    """
    dense, _ = linear_forward(p, TRANSFORM + "dense", x)
    active, gelu_cache = gelu_forward(dense)
    h, norm_cache = layer_norm_forward(p, TRANSFORM + "LayerNorm", active)
    logits = h @ p[WORD].T + p[VOCABULARY_BIAS]  # (B, T, D) @ (D, V) + (V,) -> (B, T, V)
    return logits, (x, *gelu_cache, *norm_cache, h)


def mlm_head_backward(dlogits: Array, cache: Cache, p: Params, g: Params) -> Array:
    """Undo the head; E gets this gradient and, in `body_backward`, that of the embeddings."""
    x, dense, probability, normed, std, h = cache
    rows = dlogits.reshape(-1, dlogits.shape[-1])  # (B, T, V) -> (N, V)
    g[VOCABULARY_BIAS] += rows.sum(axis=0)  # (N, V) -> (V,)
    g[WORD] += rows.T @ h.reshape(-1, h.shape[-1])  # (V, N) @ (N, D) -> (V, D)
    dh = dlogits @ p[WORD]  # (B, T, V) @ (V, D) -> (B, T, D)
    dactive = layer_norm_backward(dh, (normed, std), p, g, TRANSFORM + "LayerNorm")
    ddense = gelu_backward(dactive, (dense, probability))
    return linear_backward(ddense, x, p, g, TRANSFORM + "dense")


def classifier_forward(p: Params, x: Array) -> tuple[Array, Cache]:
    """Score the classes from [CLS], the first token: linear(tanh(linear(x₀))); [1], section 4.1."""
    dense, _ = linear_forward(p, "bert.pooler.dense", x[:, 0])  # (B, T, D) -> (B, D)
    pooled = np.tanh(dense)
    logits, _ = linear_forward(p, "classifier", pooled)  # (B, D) -> (B, C)
    return logits, (x, pooled)


def classifier_backward(dlogits: Array, cache: Cache, p: Params, g: Params) -> Array:
    """Undo both maps and tanh, whose slope is 1 - tanh²; only [CLS] gets a gradient."""
    x, pooled = cache
    ddense = linear_backward(dlogits, pooled, p, g, "classifier") * (1 - pooled**2)
    dx = np.zeros_like(x)
    dx[:, 0] = linear_backward(ddense, x[:, 0], p, g, "bert.pooler.dense")  # (B, D)
    return dx


def cross_entropy_forward(logits: Array, labels: Ids, n: float = 0) -> tuple[float, Cache]:
    """Return -Σ log softmax(logits)[label] / n over the M labels that are not -100.

    n is M unless it is given: the losses of a batch's parts, each divided by the whole's n, add up.
    """
    counted = labels != IGNORED  # (...)
    share = counted / (n or max(counted.sum(), 1))  # (...), the weight of each position
    one_hot = np.eye(logits.shape[-1])[np.where(counted, labels, 0)]  # (..., C)
    shifted = logits - logits.max(axis=-1, keepdims=True)  # which keeps exp from overflowing
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # (..., C)
    loss = -(share * (one_hot * log_softmax).sum(axis=-1)).sum()
    return float(loss), (share, one_hot, log_softmax)


def cross_entropy_backward(cache: Cache) -> Array:
    """Undo -s_label + log Σⱼ exp(sⱼ) for logits s: the slope is softmax(s) - one_hot(label)."""
    share, one_hot, log_softmax = cache
    return share[..., None] * (np.exp(log_softmax) - one_hot)  # (..., 1) * (..., C)


def loss_and_grads(
    p: Params, batch: Batch, labels: Ids, K: int, n: float = 0
) -> tuple[float, Params]:
    """Return the loss and its gradients; labels are (B, T) for masked LM, (B,) for classes."""
    g = {name: np.zeros_like(array) for name, array in p.items()}
    is_mlm = labels.ndim == 2
    x, body_cache = body_forward(p, batch, K)
    logits, head_cache = (mlm_head_forward if is_mlm else classifier_forward)(p, x)
    loss, loss_cache = cross_entropy_forward(logits, labels, n)
    dlogits = cross_entropy_backward(loss_cache)
    dx = (mlm_head_backward if is_mlm else classifier_backward)(dlogits, head_cache, p, g)
    body_backward(dx, body_cache, p, g)
    return loss, g


def initial_params(V: int, D: int, F: int, L: int, T: int, C: int, std: float, seed: int) -> Params:
    """Draw weights from N(0, std²); biases are 0, layer norms' weights 1; [1], their code."""
    rng = np.random.default_rng(seed)
    maps = {"bert.pooler.dense": (D, D), "classifier": (C, D), TRANSFORM + "dense": (D, D)}
    norms = ["bert.embeddings.LayerNorm", TRANSFORM + "LayerNorm"]
    for block in (f"bert.encoder.layer.{i}." for i in range(L)):
        maps |= {f"{block}attention.{part}": (D, D) for part in (*ROLES, "output.dense")}
        maps |= {block + "intermediate.dense": (F, D), block + "output.dense": (D, F)}
        norms += [block + "attention.output.LayerNorm", block + "output.LayerNorm"]
    tables = {WORD: (V, D), POSITION: (T, D), SEGMENT: (2, D)}
    tables |= {name + ".weight": shape for name, shape in maps.items()}
    p = {name: rng.normal(0, std, shape) for name, shape in tables.items()}
    p |= {name + ".weight": np.ones(D) for name in norms}
    p |= {name + ".bias": np.zeros(D) for name in norms} | {VOCABULARY_BIAS: np.zeros(V)}
    return p | {name + ".bias": np.zeros(outputs) for name, (outputs, _) in maps.items()}


def mask_tokens(ids: Ids, V: int, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Choose 15 % of the ordinary tokens as targets, and hide most of them; [1], section 3.1.

    Of the targets 80 % are shown as [MASK], 10 % as a random token and 10 % as they are.
    """
    targets = (ids > MASK) & (rng.random(ids.shape) < 0.15)  # (B, T)
    draw, noise = rng.random(ids.shape), rng.integers(MASK + 1, V, ids.shape)
    shown = np.where(targets & (draw < 0.8), MASK, np.where(targets & (draw >= 0.9), noise, ids))
    return shown, np.where(targets, ids, IGNORED)


def clip_gradients(g: Params, longest: float = 1.0) -> float:
    """Shorten all gradients by one factor, so that their common norm is at most `longest`; [7]."""
    norm = math.sqrt(sum(float((array**2).sum()) for array in g.values()))
    for array in g.values():
        array *= longest / max(norm, longest)
    return norm


def adamw_update(p: Params, g: Params, m: Params, v: Params, step: int, rate: float) -> None:
    """Take step 1, 2, 3, ... against the gradient; [6], algorithm 2, constants of [1], section A.2.

    m and v are running means of g and g². They start at 0, so after t steps their weights sum to
    1 - βᵗ, and m̂ and v̂ divide by that. Biases and layer norms do not decay; [1], their code.
    """
    for name in p:
        m[name] = 0.9 * m[name] + 0.1 * g[name]
        v[name] = 0.999 * v[name] + 0.001 * g[name] ** 2
        m_hat, v_hat = m[name] / (1 - 0.9**step), v[name] / (1 - 0.999**step)
        decay = 0 if name.endswith(("bias", "LayerNorm.weight")) else 0.01
        p[name] -= rate * (m_hat / (np.sqrt(v_hat) + 1e-8) + decay * p[name])


def linear_schedule(step: int, total: int, warmup: int, peak: float) -> float:
    """Return the learning rate of step 0, 1, 2, ...: up in a straight line, then down to 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (total - step) / (total - warmup)


def encode(words: list[str], symbols: list[str]) -> Batch:
    """Turn each word into the ids of [CLS], its letters and [SEP], padded to the longest word."""
    rows = [[CLS, *map(symbols.index, word), SEP] for word in words]
    ids = np.array([row + [PAD] * (max(map(len, rows)) - len(row)) for row in rows])  # (B, T)
    return ids, np.zeros_like(ids), (ids != PAD).astype(np.int64)


def main(steps: int = 500, seed: int = 0) -> None:
    """Train on the words of this file, print the loss, and fill in hidden letters."""
    with open(__file__, encoding="utf-8") as file:
        text = "".join(character if character.isalpha() else " " for character in file.read())
    words = [word for word in text.split() if len(word) > 3]
    letters = list("".join(words))
    shares = np.unique(letters, return_counts=True)[1] / len(letters)
    print(f"Unigram baseline, guessing by frequency: loss {-shares @ np.log(shares):.2f}")
    symbols = ["[PAD]", "[CLS]", "[SEP]", "?", *sorted(set(letters))]  # ? shows [MASK]
    B, D, K, F, L, V, T = 32, 96, 4, 96, 2, len(symbols), max(map(len, words)) + 2
    p = initial_params(V, D, F, L, T, C=2, std=D**-0.5, seed=seed)
    m, v = ({name: np.zeros_like(array) for name, array in p.items()} for _ in range(2))
    rng, losses, tenth = np.random.default_rng(seed), np.zeros(steps), max(steps // 10, 1)
    for step in range(steps):
        ids, types, mask = encode([words[i] for i in rng.integers(0, len(words), B)], symbols)
        shown, labels = mask_tokens(ids, V, rng)
        losses[step], g = loss_and_grads(p, (shown, types, mask), labels, K)
        clip_gradients(g)
        adamw_update(p, g, m, v, step + 1, linear_schedule(step, steps, tenth, 2e-3))
        if (step + 1) % tenth == 0:
            print(f"Step {step + 1:4}: loss {losses[step + 1 - tenth : step + 1].mean():.2f}")
    ids, types, mask = encode([w for w in sorted(set(words)) if words.count(w) > 2], symbols)
    hidden = np.arange(ids.shape[1]) == rng.integers(1, mask.sum(axis=1) - 1)[:, None]  # (B, T)
    shown = np.where(hidden, MASK, ids)
    logits, _ = mlm_head_forward(p, body_forward(p, (shown, types, mask), K)[0])
    filled = np.where(hidden, logits.argmax(axis=-1), ids)  # (B, T, V) -> (B, T)
    print(f"Right in {(filled == ids).all(axis=1).mean():.0%} of {len(ids)} words, such as")
    for rows in zip(shown[::12], filled[::12], strict=True):
        print(" -> ".join("".join(symbols[i] for i in row if i >= MASK) for row in rows))


if __name__ == "__main__":
    main()
