"""A solution and the usual mistakes of each exercise: code for `raise NotImplementedError`.

An exercise with several functions has a tuple of codes. A planted bug is the code that is replaced.
"""

from dataclasses import dataclass
from textwrap import dedent, indent

from minibert.exercises import FILES

Code = str | tuple[str, ...]
STUB = "raise NotImplementedError"


@dataclass(frozen=True)
class Entry:
    """A exercise's solution and mistakes.

    Attributes:
        solution: the right code.
        mistakes: wrong code by a part of the hint that it gets.
        replaces: the code in the exercise's file that they replace.
    """

    solution: Code
    mistakes: dict[str, Code]
    replaces: str = STUB


def complete(name: str, code: Code) -> str:
    """Return the text of an exercise's file (str) with the code in place."""
    text = (FILES / f"{name}.py").read_text(encoding="utf-8")
    replaces = CATALOGUE[name].replaces
    codes = code if isinstance(code, tuple) else (code,)
    assert text.count(replaces) == len(codes), name
    for each in codes:
        text = text.replace(replaces, indent(dedent(each).strip(), "    ").lstrip(), 1)
    return text


NORMALIZE = """
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return (x - mean) / (variance + eps) ** 0.5 * weight + bias
"""
NORM_BACKWARD = """
    normed, std, weight = cache
    g = dout * weight
    mean = g.mean(axis=-1, keepdims=True)
    along = (g * normed).mean(axis=-1, keepdims=True)
    dx = (g - mean - normed * along) / std
    return dx, (dout * normed).sum(axis=0), dout.sum(axis=0)
"""
SOFTMAX = """
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)
"""
CROSS_ENTROPY = """
    counted = labels != IGNORED
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    own = log_softmax[np.arange(len(labels)), np.where(counted, labels, 0)]
    return -(counted * own).sum() / max(counted.sum(), 1)
"""
ATTENTION = """
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
    scores = np.where(mask[:, None, None, :], scores, -np.inf)
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True) @ value
"""
ATTENTION_BACKWARD = """
    query, key, value, weights = cache
    dvalue = weights.swapaxes(-1, -2) @ dout
    dweights = dout @ value.swapaxes(-1, -2)
    dscores = softmax_backward(dweights, weights) / np.sqrt(query.shape[-1])
    return dscores @ key, dscores.swapaxes(-1, -2) @ query, dvalue
"""
EMBEDDING_BACKWARD = """
    ids, words, positions = cache
    dwords, dpositions = np.zeros(words), np.zeros(positions)
    np.add.at(dwords, ids, dout)
    dpositions[: ids.shape[1]] = dout.sum(axis=0)
    return dwords, dpositions
"""
RESIDUAL_BACKWARD = """
    x, weight, active = cache
    dlinear = dout * (1 - active**2)
    return dout + dlinear @ weight, dlinear.T @ x
"""
MASKING = """
    target = (ids > MASK) & (rng.random(ids.shape) < 0.15)
    draw, noise = rng.random(ids.shape), rng.integers(MASK + 1, V, ids.shape)
    shown = np.where(target & (draw < 0.8), MASK, ids)
    shown = np.where(target & (draw >= 0.9), noise, shown)
    return shown, np.where(target, ids, IGNORED)
"""
TIED = """
    ids, table, h = cache
    dtable = dlogits.T @ h
    np.add.at(dtable, ids, dlogits @ table * (1 - h**2))
    return dtable
"""
ADAMW = """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
    return p - rate * (m_hat / (v_hat**0.5 + eps) + decay * p), m, v
"""
CLIP = """
    norm = sum((g**2).sum() for g in gradients) ** 0.5
    return [g * min(1, longest / norm) for g in gradients]
"""
SCHEDULE = """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (total - step) / (total - warmup)
"""
MERGE = """
    counts = {}
    for word, count in words.items():
        for pair in zip(word, word[1:]):
            counts[pair] = counts.get(pair, 0) + count
    best = max(counts, key=lambda pair: (counts[pair], *(-pieces.index(each) for each in pair)))
    piece = best[0] + best[1].removeprefix("##")
    new = {}
    for word, count in words.items():
        letters, i = [], 0
        while i < len(word):
            step = 2 if word[i : i + 2] == best else 1
            letters.append(piece if step == 2 else word[i])
            i += step
        new[tuple(letters)] = count
    return piece, new
"""
MATCH = """
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in pieces:
                break
        else:
            return ["[UNK]"]
        found.append(piece)
        start = end
    return found
"""
PAD = """
    lengths = [len(each) for each in sequences]
    ids = np.full((len(sequences), max(lengths)), pad_id)
    mask = np.zeros_like(ids)
    for row, each in enumerate(sequences):
        ids[row, : len(each)] = each
        mask[row, : len(each)] = 1
    return ids, mask
"""
RECEIVED = """
    queries = mask[:, None, :, None]
    return (weights * queries).sum(axis=(1, 2)) / (weights.shape[1] * mask.sum(axis=1)[:, None])
"""

CATALOGUE = {
    "ex01_false_pass_cotangent": Entry(
        "return np.arange(N * C).reshape(N, C) ** 2 % 5 - 1.5",
        {
            "a cotangent of zeros": "return np.zeros((N, C))",
            "with equal weights": "return np.full((N, C), 2.5)",
            "must differ within a row": "return np.arange(N)[:, None] + np.zeros((N, C))",
            "expected the shape": "return np.arange(N)",
        },
    ),
    "ex02_false_pass_initial": Entry(
        "return [2.0 + i for i in range(D)], [0.5] * D",
        {
            "expected a tuple of 2: weight, bias": "return [2.0] * D",
            "a weight of one hides": "return [1.0] * D, [0.5] * D",
            "a bias of zero hides": "return [2.0] * D, [0.0] * D",
            "in any column": "return [1.0] + [2.0] * (D - 1), [0.5] * D",
        },
    ),
    "ex03_linear_forward": Entry(
        "return x @ weight.T + bias",
        {
            "the bias is missing": "return x @ weight.T",
            "the bias is subtracted": "return x @ weight.T - bias",
            "the bias is multiplied": "return x @ weight.T * bias",
            "is one of the arrays transposed": "return x @ weight + bias",
            "it is transposed": "return (x @ weight.T + bias).T",
            "returns nothing": "x @ weight.T + bias",
        },
    ),
    "ex04_linear_backward": Entry(
        "x, weight = cache\nreturn dout @ weight, dout.T @ x, dout.sum(axis=0)",
        {
            "it is transposed": (
                "x, weight = cache\nreturn dout @ weight, x.T @ dout, dout.sum(axis=0)"
            ),
            "the sum is missing": "x, weight = cache\nreturn dout @ weight, dout.T @ x, dout",
            "so its gradient is the sum over the rows; this is their mean": (
                "x, weight = cache\nreturn dout @ weight, dout.T @ x, dout.mean(axis=0)"
            ),
            "each weight is used once per row": (
                "x, weight = cache\nreturn dout @ weight, dout.T @ x / len(x), dout.sum(axis=0)"
            ),
            "only one row is counted": (
                "x, weight = cache\nreturn dout @ weight, dout.T @ x, dout[-1]"
            ),
            "2 times what it should be": (
                "x, weight = cache\nreturn 2 * dout @ weight, dout.T @ x, dout.sum(axis=0)"
            ),
            "is one of the arrays transposed": (
                "x, weight = cache\nreturn dout @ weight.T, dout.T @ x, dout.sum(axis=0)"
            ),
            "expected a tuple of 3: dx, dweight, dbias": (
                "x, weight = cache\nreturn dout @ weight, dout.T @ x"
            ),
        },
    ),
    "ex05_softmax_forward": Entry(
        SOFTMAX,
        {
            "not divided by their sum": "return np.exp(scores)",
            "the sum is over all scores": ("exp = np.exp(scores)\nreturn exp / exp.sum()"),
            "the columns sum to one": ("exp = np.exp(scores)\nreturn exp / exp.sum(axis=0)"),
            "exp is missing": "return scores / scores.sum(axis=-1, keepdims=True)",
            "may need keepdims=True": ("exp = np.exp(scores)\nreturn exp / exp.sum(axis=-1)"),
            "exp of a large score overflows": (
                "exp = np.exp(scores)\nreturn exp / exp.sum(axis=-1, keepdims=True)"
            ),
            "the maximum of all scores": (
                "exp = np.exp(scores - scores.max())\nreturn exp / exp.sum(axis=-1, keepdims=True)"
            ),
        },
    ),
    "ex06_softmax_backward": Entry(
        "product = weights * dweights\n"
        "return product - weights * product.sum(axis=-1, keepdims=True)",
        {
            "the second term is missing": "return weights * dweights",
            "the diagonal of the derivative": "return weights * dweights * (1 - weights)",
            "it must be weighted by the weights": (
                "return weights * (dweights - dweights.mean(axis=-1, keepdims=True))"
            ),
            "the sum is over the columns": (
                "return weights * (dweights - (weights * dweights).sum(axis=0))"
            ),
            "the sum is over all rows": (
                "return weights * (dweights - (weights * dweights).sum())"
            ),
            "the factor weights in front": (
                "return dweights - (weights * dweights).sum(axis=-1, keepdims=True)"
            ),
            "the sum is added": (
                "return weights * (dweights + (weights * dweights).sum(axis=-1, keepdims=True))"
            ),
            "the sign is wrong": (
                "return weights * ((weights * dweights).sum(axis=-1, keepdims=True) - dweights)"
            ),
        },
    ),
    "ex07_cross_entropy_forward": Entry(
        CROSS_ENTROPY,
        {
            "divided by all M labels": CROSS_ENTROPY.replace("max(counted.sum(), 1)", "len(own)"),
            "this is the sum over the labels": CROSS_ENTROPY.replace(
                " / max(counted.sum(), 1)", ""
            ),
            "the sign is wrong": CROSS_ENTROPY.replace("-(counted", "(counted"),
            "the logarithm is missing": CROSS_ENTROPY.replace("* own", "* np.exp(own)"),
            "the softmax is missing": CROSS_ENTROPY.replace("own = log_softmax", "own = logits"),
            "counted as class 0": CROSS_ENTROPY.replace(
                "(counted * own).sum()", "own.sum()"
            ).replace("max(counted.sum(), 1)", "len(own)"),
            "divide by 1": CROSS_ENTROPY.replace("max(counted.sum(), 1)", "counted.sum()"),
            "overflows: subtract": CROSS_ENTROPY.replace(
                " - logits.max(axis=-1, keepdims=True)", ""
            ),
            "inf / inf": CROSS_ENTROPY.replace(
                "log_softmax = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))",
                "exp = np.exp(logits)\n"
                "    log_softmax = np.log(exp / exp.sum(axis=-1, keepdims=True))",
            ),
            "rounded to 0": CROSS_ENTROPY.replace(
                "log_softmax = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))",
                "exp = np.exp(shifted)\n"
                "    log_softmax = np.log(exp / exp.sum(axis=-1, keepdims=True))",
            ).replace("(counted * own).sum()", "own[counted].sum()"),
            "an ignored label is -100": CROSS_ENTROPY.replace(
                "np.where(counted, labels, 0)", "labels"
            ),
        },
    ),
    "ex08_cross_entropy_backward": Entry(
        "counted, n, one_hot, log_softmax = cache\n"
        "return dloss * counted[:, None] * (np.exp(log_softmax) - one_hot) / n",
        {
            "divide by n": (
                "counted, n, one_hot, log_softmax = cache\n"
                "return dloss * counted[:, None] * (np.exp(log_softmax) - one_hot)"
            ),
            "not over all M": (
                "counted, n, one_hot, log_softmax = cache\n"
                "return dloss * counted[:, None] * (np.exp(log_softmax) - one_hot) / len(counted)"
            ),
            "an ignored label has no gradient": (
                "counted, n, one_hot, log_softmax = cache\n"
                "return dloss * (np.exp(log_softmax) - one_hot) / n"
            ),
            "the factor dloss": (
                "counted, n, one_hot, log_softmax = cache\n"
                "return counted[:, None] * (np.exp(log_softmax) - one_hot) / n"
            ),
            "one_hot is not subtracted": (
                "counted, n, one_hot, log_softmax = cache\n"
                "return dloss * counted[:, None] * np.exp(log_softmax) / n"
            ),
            "this uses log softmax": (
                "counted, n, one_hot, log_softmax = cache\n"
                "return dloss * counted[:, None] * (log_softmax - one_hot) / n"
            ),
            "the sign is wrong": (
                "counted, n, one_hot, log_softmax = cache\n"
                "return dloss * counted[:, None] * (one_hot - np.exp(log_softmax)) / n"
            ),
            "may need keepdims": (
                "counted, n, one_hot, log_softmax = cache\n"
                "return dloss * counted * (np.exp(log_softmax) - one_hot) / n"
            ),
        },
    ),
    "ex09_layer_norm_forward": Entry(
        NORMALIZE,
        {
            "the columns are normalized": NORMALIZE.replace("axis=-1, keepdims=True", "axis=0"),
            "divides by D - 1": NORMALIZE.replace("x.var(axis=-1,", "x.var(axis=-1, ddof=1,"),
            "eps is added to the standard deviation": NORMALIZE.replace(
                "(variance + eps) ** 0.5", "(variance**0.5 + eps)"
            ),
            "eps is missing": NORMALIZE.replace(" + eps", ""),
            "the root is missing": NORMALIZE.replace(" ** 0.5", ""),
            "the mean is not subtracted": NORMALIZE.replace("(x - mean)", "x"),
            "weight and bias are missing": NORMALIZE.replace(" * weight + bias", ""),
            "the bias is missing": NORMALIZE.replace(" + bias", ""),
        },
    ),
    "ex10_layer_norm_backward": Entry(
        NORM_BACKWARD,
        {
            "only the direct path": NORM_BACKWARD.replace(" - mean - normed * along", ""),
            "the path through the mean": NORM_BACKWARD.replace("g - mean -", "g -"),
            "the path through std": NORM_BACKWARD.replace(" - normed * along", ""),
            "the division by std": NORM_BACKWARD.replace(" / std", ""),
            "the factor weight is missing": NORM_BACKWARD.replace("dout * weight", "dout"),
            "the means are over the columns": NORM_BACKWARD.replace("axis=-1", "axis=0"),
            "this is the gradient of the bias": NORM_BACKWARD.replace("(dout * normed)", "dout"),
            "the sum is missing": NORM_BACKWARD.replace(
                "(dout * normed).sum(axis=0)", "dout * normed"
            ),
            "the bias is added to every row": NORM_BACKWARD.replace(
                "dout.sum(axis=0)", "dout.mean(axis=0)"
            ),
            "weight scales every row": NORM_BACKWARD.replace(
                "(dout * normed).sum", "(dout * normed).mean"
            ),
        },
    ),
    "ex11_gelu_forward": Entry(
        "return x * (1 + erf(x / math.sqrt(2))) / 2",
        {
            "the factor x is missing": "return (1 + erf(x / math.sqrt(2))) / 2",
            "the division by √2": "return x * (1 + erf(x)) / 2",
            "1 + is missing": "return x * erf(x / math.sqrt(2)) / 2",
            "the approximation by tanh": (
                "inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)\n"
                "return x / 2 * (1 + np.tanh(inner))"
            ),
            "the approximation by a sigmoid": "return x / (1 + np.exp(-1.702 * x))",
            "this is ReLU": "return np.maximum(x, 0)",
            "2 times what it should be": "return x * (1 + erf(x / math.sqrt(2)))",
        },
    ),
    "ex12_gelu_backward": Entry(
        "x, probability = cache\n"
        "return dout * (probability + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))",
        {
            "the second term": "x, probability = cache\nreturn dout * probability",
            "the first term": (
                "x, probability = cache\n"
                "return dout * x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)"
            ),
            "the factor x of the second term": (
                "x, probability = cache\n"
                "return dout * (probability + np.exp(-x * x / 2) / math.sqrt(2 * math.pi))"
            ),
            "the factor dout": (
                "x, probability = cache\n"
                "return probability + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)"
            ),
            "its division by √(2π)": (
                "x, probability = cache\nreturn dout * (probability + x * np.exp(-x * x / 2))"
            ),
            "a wrong exponent": (
                "x, probability = cache\n"
                "return dout * (probability + x * np.exp(-x * x) / math.sqrt(2 * math.pi))"
            ),
        },
    ),
    "ex13_attention_forward": Entry(
        ATTENTION,
        {
            "the padding mask is missing": ATTENTION.replace(
                "np.where(mask[:, None, None, :], scores, -np.inf)", "scores"
            ),
            "the mask hides padded queries": ATTENTION.replace(
                "mask[:, None, None, :]", "mask[:, None, :, None]"
            ).replace("-np.inf", "-np.inf"),
            "the scores of padding are 0": ATTENTION.replace("-np.inf", "0"),
            "applied after the softmax": ATTENTION.replace(
                "np.where(mask[:, None, None, :], scores, -np.inf)", "scores"
            ).replace("return exp", "return mask[:, None, None, :] * exp"),
            "hidden after the mean": ATTENTION.replace(
                "return exp", "return mask[:, None, :, None] * exp"
            ),
            "not divided by √H": ATTENTION.replace(" / np.sqrt(query.shape[-1])", ""),
            "divided by H": ATTENTION.replace("np.sqrt(query.shape[-1])", "query.shape[-1]"),
            "the hidden size": ATTENTION.replace(
                "query.shape[-1]", "query.shape[1] * query.shape[-1]"
            ),
            "over the queries": ATTENTION.replace("axis=-1", "axis=-2"),
            "these are the weights": ATTENTION.replace(" @ value", ""),
            "is one of the arrays transposed": ATTENTION.replace(".swapaxes(-1, -2)", ""),
        },
    ),
    "ex14_attention_backward": Entry(
        ATTENTION_BACKWARD,
        {
            "were divided by √H": ATTENTION_BACKWARD.replace(" / np.sqrt(query.shape[-1])", ""),
            "the backward of the softmax": ATTENTION_BACKWARD.replace(
                "softmax_backward(dweights, weights)", "dweights"
            ),
            "so dQ = dscores K": ATTENTION_BACKWARD.replace("dscores @ key", "dscores @ query"),
            "the scores' gradient is transposed": ATTENTION_BACKWARD.replace(
                "return dscores @", "return dscores.swapaxes(-1, -2) @"
            ),
            "dkey sums over the queries": ATTENTION_BACKWARD.replace(
                ", dscores.swapaxes(-1, -2) @", ", dscores @"
            ),
            "so dK = dscoresᵀ Q": ATTENTION_BACKWARD.replace(
                "dscores.swapaxes(-1, -2) @ query", "dscores.swapaxes(-1, -2) @ key"
            ),
            "dvalue sums over the queries": ATTENTION_BACKWARD.replace(
                "weights.swapaxes(-1, -2) @ dout", "weights @ dout"
            ),
        },
    ),
    "ex15_split_heads": Entry(
        (
            "B, T, D = x.shape\nreturn x.reshape(B, T, K, D // K).swapaxes(1, 2)",
            "B, K, T, H = heads.shape\nreturn heads.swapaxes(1, 2).reshape(B, T, K * H)",
        ),
        {
            "reshape to (B, K, T, H) mixes tokens": (
                "B, T, D = x.shape\nreturn x.reshape(B, K, T, D // K)",
                STUB,
            ),
            "the pieces are not adjacent": (
                "B, T, D = x.shape\nreturn x.reshape(B, T, D // K, K).transpose(0, 3, 1, 2)",
                STUB,
            ),
            "it is transposed": (
                "B, T, D = x.shape\nreturn x.reshape(B, T, K, D // K)",
                STUB,
            ),
            "reshape without swapping back": (
                "B, T, D = x.shape\nreturn x.reshape(B, T, K, D // K).swapaxes(1, 2)",
                "B, K, T, H = heads.shape\nreturn heads.reshape(B, T, K * H)",
            ),
            "swapped too far": (
                "B, T, D = x.shape\nreturn x.reshape(B, T, K, D // K).swapaxes(1, 2)",
                "B, K, T, H = heads.shape\nreturn heads.transpose(0, 2, 3, 1).reshape(B, T, K * H)",
            ),
        },
    ),
    "ex16_bug_three_maps": Entry(
        "dx += dpart @ weight",
        {
            "only the first map": "dx = dx + dpart @ weight if not dweights else dx",
            "this is their mean": "dx += dpart @ weight / 3",
            "the sign is wrong": "dx -= dpart @ weight",
        },
        replaces="dx = dpart @ weight",
    ),
    "ex17_embedding_forward": Entry(
        "return words[ids] + positions[: ids.shape[1]]",
        {
            "the position embeddings are missing": "return words[ids]",
            "indexed by the ids": "return words[ids] + positions[ids.clip(0, 4)]",
            "positions count the sequences": ("return words[ids] + positions[: len(ids), None]"),
            "every token gets the first position": "return words[ids] + positions[0]",
            "this is from 1": "return words[ids] + positions[1 : ids.shape[1] + 1]",
            "continue in the next sequence": (
                "return words[ids] + positions[np.arange(ids.size).clip(0, 4).reshape(ids.shape)]"
            ),
            "these shapes do not fit": "return words[ids] + positions",
            "positions have T rows": "return words[ids] + positions[ids]",
        },
    ),
    "ex18_embedding_backward": Entry(
        EMBEDDING_BACKWARD,
        {
            "keeps only its last row": EMBEDDING_BACKWARD.replace(
                "np.add.at(dwords, ids, dout)", "dwords[ids] += dout"
            ),
            "of a repeated id are averaged": EMBEDDING_BACKWARD.replace(
                "np.add.at(dwords, ids, dout)",
                "np.add.at(dwords, ids, dout)\n"
                "    dwords /= np.maximum(np.bincount(ids.ravel(), minlength=6), 1)[:, None]",
            ),
            "the rows after T are missing": EMBEDDING_BACKWARD.replace(
                "return dwords, dpositions", "return dwords, dout.sum(axis=0)"
            ),
            "this is the mean": EMBEDDING_BACKWARD.replace("dout.sum", "dout.mean"),
            "only one sequence is counted": EMBEDDING_BACKWARD.replace(
                "dout.sum(axis=0)", "dout[-1]"
            ),
            "it is zero everywhere": EMBEDDING_BACKWARD.replace(
                "np.add.at(dwords, ids, dout)", "pass"
            ),
        },
    ),
    "ex19_residual_backward": Entry(
        RESIDUAL_BACKWARD,
        {
            "the residual is missing": RESIDUAL_BACKWARD.replace("dout + dlinear", "dlinear"),
            "the sublayer is missing": RESIDUAL_BACKWARD.replace(" + dlinear @ weight", ""),
            "both paths are averaged": RESIDUAL_BACKWARD.replace(
                "dout + dlinear @ weight", "(dout + dlinear @ weight) / 2"
            ),
            "both paths are multiplied": RESIDUAL_BACKWARD.replace(
                "dout + dlinear @ weight", "dout * (dlinear @ weight)"
            ),
            "the slope of tanh": RESIDUAL_BACKWARD.replace(" * (1 - active**2)", ""),
            "weight is transposed": RESIDUAL_BACKWARD.replace("@ weight", "@ weight.T"),
            "it is transposed": RESIDUAL_BACKWARD.replace("dlinear.T @ x", "x.T @ dlinear"),
        },
    ),
    "ex20_mask_tokens": Entry(
        MASKING,
        {
            "every token has one": MASKING.replace("np.where(target, ids, IGNORED)", "ids"),
            "the label is the original id": MASKING.replace(
                "np.where(target, ids, IGNORED)", "np.where(target, shown, IGNORED)"
            ),
            "a special token is a target": MASKING.replace("(ids > MASK) & ", ""),
            "of the ordinary tokens are targets": MASKING.replace("0.15", "0.25"),
            "never shown unchanged or as a random token": MASKING.replace("0.8", "1").replace(
                ">= 0.9", "> 1"
            ),
            "no target is shown as a random token": MASKING.replace(">= 0.9", "> 1"),
            "no target is shown unchanged": MASKING.replace(">= 0.9", ">= 0.8"),
            "a token is hidden that is not a target": MASKING.replace(
                "target & (draw >=", "(draw >="
            ),
            "it was changed": MASKING.replace(
                "return shown, ", "labels = ids.copy()\n    ids[:] = shown\n    return shown, "
            ),
            "every sequence has the same targets": MASKING.replace(
                "(rng.random(ids.shape) < 0.15)", "(rng.random(ids.shape[1]) < 0.15)"
            ),
            "a special token is shown": MASKING.replace(
                "rng.integers(MASK + 1,", "rng.integers(0,"
            ),
            "different random tokens": MASKING.replace(
                "rng.integers(MASK + 1, V, ids.shape)", "rng.integers(MASK + 1, V)"
            ),
            "two independent draws": MASKING.replace(
                "target & (draw >= 0.9)", "target & (rng.random(ids.shape) < 0.1)"
            ),
        },
    ),
    "ex21_tied_backward": Entry(
        TIED,
        {
            "only the head": TIED.replace(
                "np.add.at(dtable, ids, dlogits @ table * (1 - h**2))", ""
            ),
            "only the lookup": TIED.replace("dlogits.T @ h", "np.zeros_like(table)"),
            "keeps only its last row": TIED.replace(
                "np.add.at(dtable, ids, dlogits @ table * (1 - h**2))",
                "dtable[ids] += dlogits @ table * (1 - h**2)",
            ),
            "the slope of tanh": TIED.replace(" * (1 - h**2)", ""),
            "both uses are averaged": TIED.replace("return dtable", "return dtable / 2"),
            "overwrites that of the head": TIED.replace(
                "np.add.at(dtable, ids, dlogits @ table * (1 - h**2))",
                "dtable[ids] = dlogits @ table * (1 - h**2)",
            ),
        },
    ),
    "ex22_adamw_step": Entry(
        ADAMW,
        {
            "the factor (1 - β₁) of g": ADAMW.replace("(1 - beta1) * g", "g"),
            "the old mean": ADAMW.replace("beta1 * m + ", ""),
            "β₁ and 1 - β₁": ADAMW.replace(
                "beta1 * m + (1 - beta1) * g", "(1 - beta1) * m + beta1 * g"
            ),
            "the stored m": ADAMW.replace(", m, v", ", m_hat, v"),
            "as in Adam": "g = g + decay * p\n" + dedent(ADAMW).replace(" + decay * p", ""),
            "g is not squared": ADAMW.replace("g**2", "g"),
            "the factor (1 - β₂) of g²": ADAMW.replace("(1 - beta2) * g**2", "g**2"),
            "the stored v": ADAMW.replace(", m, v", ", m, v_hat"),
            "the step has the wrong sign": ADAMW.replace("p - rate", "p + rate"),
            "the bias correction is missing": ADAMW.replace(
                "m / (1 - beta1**step), v / (1 - beta2**step)", "m, v"
            ),
            "v is not corrected": ADAMW.replace("v / (1 - beta2**step)", "v"),
            "m is not corrected": ADAMW.replace("m / (1 - beta1**step)", "m"),
            "the weight decay is missing": ADAMW.replace(" + decay * p", ""),
            "the decay is not multiplied": ADAMW.replace(
                "rate * (m_hat / (v_hat**0.5 + eps) + decay * p)",
                "rate * m_hat / (v_hat**0.5 + eps) - decay * p",
            ),
            "the decay has the wrong sign": ADAMW.replace("+ decay", "- decay"),
            "the root of v̂": ADAMW.replace("v_hat**0.5", "v_hat"),
            "eps is inside": ADAMW.replace("v_hat**0.5 + eps", "(v_hat + eps) ** 0.5"),
            "t is one too small": ADAMW.replace("**step", "**(step - 1)"),
            "t is one too large": ADAMW.replace("**step", "**(step + 1)"),
        },
    ),
    "ex23_clip_gradients": Entry(
        CLIP,
        {
            "by its own norm": """
                norms = [(g**2).sum() ** 0.5 for g in gradients]
                return [g * min(1, longest / n) for g, n in zip(gradients, norms)]
            """,
            "each number is clipped": "return [g.clip(-longest, longest) for g in gradients]",
            "short gradients are made longer": CLIP.replace(
                "min(1, longest / norm)", "longest / norm"
            ),
            "the root is missing": CLIP.replace(" ** 0.5", ""),
            "the norms are added": CLIP.replace(
                "sum((g**2).sum() for g in gradients) ** 0.5",
                "sum((g**2).sum() ** 0.5 for g in gradients)",
            ),
            "this is the largest number": CLIP.replace(
                "sum((g**2).sum() for g in gradients) ** 0.5",
                "max(abs(g).max() for g in gradients)",
            ),
            "nothing is clipped": "return gradients",
            "a list of as many arrays": CLIP.replace("[g *", "[g[0] *").replace(
                "for g in gradients]", "for g in gradients[:1]]"
            ),
        },
    ),
    "ex24_schedule": Entry(
        SCHEDULE,
        {
            "the first step has the rate 0": SCHEDULE.replace("(step + 1)", "step"),
            "does not fall": SCHEDULE.replace(" * (total - step) / (total - warmup)", ""),
            "the decay begins at step 0": SCHEDULE.replace("/ (total - warmup)", "/ total"),
            "the rate is 0 in the last step": SCHEDULE.replace(
                "(total - step) / (total - warmup)",
                "(total - 1 - step) / max(total - 1 - warmup, 1)",
            ),
            "the warm-up is missing": "return peak * (total - step) / total",
            "the factor peak": SCHEDULE.replace("peak * ", ""),
            "one step too early": SCHEDULE.replace("(total - warmup)", "(total - warmup + 1)"),
        },
    ),
    "ex25_bug_parts": Entry(
        "return counts @ gradients / counts.sum()",
        {
            "divide by the number of all targets": "return counts @ gradients",
            "weigh each by its number": "return gradients.sum(axis=0)",
            "divided by the number of parts": "return counts @ gradients / len(counts)",
            "multiply each by its count": "return gradients.sum(axis=0) / counts.sum()",
        },
        replaces="return gradients.mean(axis=0)  # (n, D) -> (D,)",
    ),
    "ex26_merge_pair": Entry(
        MERGE,
        {
            "## remains": MERGE.replace('.removeprefix("##")', ""),
            "each word is counted once": MERGE.replace("+ count", "+ 1"),
            "twice in a word": MERGE.replace("zip(word, word[1:])", "set(zip(word, word[1:]))"),
            "of equally frequent pairs": MERGE.replace(
                "lambda pair: (counts[pair], *(-pieces.index(each) for each in pair))",
                "counts.__getitem__",
            ),
            "the words are as before": MERGE.replace("return piece, new", "return piece, words"),
            "only the first pair": MERGE.replace(
                "step = 2 if word[i : i + 2] == best else 1",
                "step = 2 if word[i : i + 2] == best and piece not in letters else 1",
            ),
            "expected a tuple of 2: piece, words": MERGE.replace(
                "return piece, new", "return piece"
            ),
        },
    ),
    "ex27_longest_match": Entry(
        MATCH,
        {
            "the shortest piece": MATCH.replace(
                "range(len(word), start, -1)", "range(start + 1, len(word) + 1)"
            ),
            "## is missing": MATCH.replace('("##" if start else "") + ', ""),
            "the pieces before the failure": MATCH.replace('return ["[UNK]"]', "return found"),
            "only the rest is unknown": MATCH.replace(
                'return ["[UNK]"]', 'return [*found, "[UNK]"]'
            ),
            "not an empty list": MATCH.replace('return ["[UNK]"]', "return []"),
            "not None": MATCH.replace('return ["[UNK]"]', "return None"),
        },
    ),
    "ex28_pad_batch": Entry(
        PAD,
        {
            "the padding is on the left": PAD.replace(
                "ids[row, : len(each)]", "ids[row, ids.shape[1] - len(each) :]"
            ),
            "the padding is 0": PAD.replace("pad_id)", "0)"),
            "cut to the shortest": PAD.replace("max(lengths)", "min(lengths)").replace(
                "= each", "= each[: min(lengths)]"
            ),
            "a token may have this id": PAD.replace(
                "return ids, mask", "return ids, (ids != pad_id).astype(int)"
            ),
            "the mask is inverted": PAD.replace("return ids, mask", "return ids, 1 - mask"),
            "one everywhere": PAD.replace("return ids, mask", "return ids, np.ones_like(ids)"),
        },
    ),
    "ex29_mean_pooling": Entry(
        "return (x * mask[..., None]).sum(axis=1) / mask.sum(axis=1)[:, None]",
        {
            "padding is averaged": "return x.mean(axis=1)",
            "divided by T": "return (x * mask[..., None]).mean(axis=1)",
            "the division is missing": "return (x * mask[..., None]).sum(axis=1)",
            "over the batch (axis 0)": (
                "return (x * mask[..., None]).sum(axis=0) / mask.sum(axis=0).clip(1)[:, None]"
            ),
            "over the batch and includes padding": "return x.mean(axis=0)",
            "this is the [CLS] token": "return x[:, 0]",
            "each sequence has its own": ("return (x * mask[..., None]).sum(axis=1) / mask.sum()"),
            "these shapes do not fit": "return (x * mask).sum(axis=1) / mask.sum(axis=1)",
        },
    ),
    "ex30_bug_attention_received": Entry(
        RECEIVED,
        {
            "queries that are padding": "return weights.mean(axis=(1, 2))",
            "the mean is over the keys": (
                "mean = weights.mean(axis=(1, 3)) * mask\n"
                "return mean / mean.sum(axis=-1, keepdims=True)"
            ),
            "not divided by their number": (
                "return (weights * mask[:, None, :, None]).sum(axis=2).mean(axis=1)"
            ),
            "the heads are added": RECEIVED.replace("weights.shape[1] * ", ""),
            "the sum is divided by T": (
                "return (weights * mask[:, None, :, None]).mean(axis=(1, 2))"
            ),
        },
        replaces=(
            "mean = weights.mean(axis=(1, 3))  # (B, K, T, T) -> (B, T)\n"
            "    return mean / mean.sum(axis=-1, keepdims=True)"
        ),
    ),
}
