"""`inspect --values` of every family: each array is what its formula says.

The formulas are read as they are printed. The gradients of the parameters are those of the loss.
"""

import re

import numpy as np
import pytest

from minibert import BertForMaskedLM, BertForSequenceClassification
from minibert.functional import activate_forward
from minibert.functional.families.disentangled import log_buckets
from minibert.functional.relative import relative_buckets
from minibert.inspection import inspect_text, printed_values, values_of
from minibert.inspection.chapters import chapter_of
from minibert.inspection.entries import LAST_NORM
from minibert.inspection.formulas import FORMULAS, formulas_of
from minibert.inspection.readers import READERS
from minibert.layers import WordEmbeddings
from minibert.models.table import FAMILIES
from minibert.tasks import MultiLabelTask, RegressionTask, task_for
from tests.inspection.test_values import TOKENIZER
from tests.inspection.test_values import made as made_bert
from tests.models.relatives import RELATIVES, made

SIZES = {"vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 3, "intermediate_size": 13,
         "num_attention_heads": 2, "max_position_embeddings": 9}  # fmt: skip
K = 2
VARIANTS = {
    "own maps of distances": ("deberta-v2", {"share_att_key": False}),
    "one term": ("deberta-v2", {"pos_att_type": ("c2p",), "norm_rel_ebd": "none"}),
    "no distances": ("deberta-v2", {"relative_attention": False, "norm_rel_ebd": "none",
                                    "position_biased_input": True}),
    "narrow words": ("deberta-v2", {"embedding_size": 6, "legacy": True}),
    "the mean of the tokens": ("modernbert", {"classifier_pooling": "mean"}),
}  # fmt: skip
MASKED, CLASSES = "ForMaskedLM", "ForSequenceClassification"
CASES = {
    f"{family}, {use[3:]}": (family, use, {})
    for family in RELATIVES
    for use in (MASKED, CLASSES)
    if use in FAMILIES[family].uses
}
CASES |= {
    name: (family, MASKED if "words" in name else CLASSES, change)
    for name, (family, change) in VARIANTS.items()
}
SEVERAL = {"problem_type": "multi_label_classification"}
NUMBER = {"problem_type": "regression", "id2label": {0: "rain"}}
CASES |= {
    f"{family}, {use}": (family, CLASSES, change)
    for family in ("roberta", "modernbert")
    for use, change in (("several labels", SEVERAL), ("number", NUMBER))
}
BERT_CASES = {"masked": (BertForMaskedLM, {}), "classes": (BertForSequenceClassification, {}),
              "several labels": (BertForSequenceClassification, SEVERAL),
              "number": (BertForSequenceClassification, NUMBER)}  # fmt: skip
CASES |= {f"bert, {use}": case for use, case in BERT_CASES.items()}


@pytest.fixture(scope="module", params=CASES)
def shown(request):
    kind, *use, change = CASES[request.param]
    model = made(kind, *use, **SIZES | change) if use else made_bert(kind, **change)
    task, label = None, "cat"
    if not model.predicts_tokens:
        names = list(model.config.label2id)
        task, label = task_for(model), names[0]
        if task.name == "multi-label":
            task, label = MultiLabelTask(names, [0.1, 0.9, 0.25]), f"{names[2]}, {names[0]}"
        elif task.name == "regression":
            task, label = RegressionTask(names, mean=2.0, std=0.5), "3.25"
    values = values_of(model, TOKENIZER, "the cat [MASK] on", label=label, task=task)
    return Shown(model, values, task)


class Shown:
    """The arrays that are printed, by part and name, in the order of the forward pass."""

    def __init__(self, model, values, task):
        self.model, self.values, self.params = model, values, model.params
        self.task, self.loss = task, {t.name: t.value for t in values.forward if t.part == "loss"}
        self.formulas = formulas_of(model)
        own = [t for t in values.forward if (t.part, t.name) in self.formulas]
        self.forward = {(t.part, t.name): t.value for t in own}
        self.places = list(self.forward)
        self.gradient = {
            (t.part, t.name[2:]): t.value
            for t in values.backward
            if (t.part, t.name[2:]) in self.formulas
        }
        self.ids = np.array([TOKENIZER.encode("the cat [MASK] on").input_ids])

    def of(self, place):
        """Return the parameters of an activation, None where there is none."""
        entry, scope = self.formulas[place]
        return [self.params.get(scope + name) for name, _ in entry.parameters]

    def before(self, place, ends):
        """Return the last array before a place whose name begins like this."""
        for other in self.places[: self.places.index(place)][::-1]:
            if other[1].startswith(ends):
                return self.forward[other]
        raise AssertionError(f"nothing like {ends} before {place}")

    def above(self, place):
        """Return the place that is printed above."""
        return self.places[self.places.index(place) - 1]

    def input(self, place, letter, said):
        """Return what a letter stands for."""
        part = place[0]
        if (part, letter) in self.forward:
            return self.forward[part, letter]
        if letter == "r" and "distances" in said:
            rows = [p for p in self.places if p[0] == "positions"]
            return self.forward[rows[-1]]
        if letter == "x₀":
            last = self.before(place, "normalized")
            return last.mean(axis=0) if said.startswith("the mean") else last[0]
        if said == "the normalized embeddings":
            return self.forward["embeddings", "normalized"]
        return self.before(place, {LAST_NORM: "normalized", "the projection": "projection"}[said])


def split(rows):
    return rows.reshape(len(rows), K, -1).swapaxes(0, 1)


def merge(heads):
    return heads.swapaxes(0, 1).reshape(heads.shape[1], -1)


def softmax(scores):
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def standardized(s, eps):
    return (s - s.mean(axis=-1, keepdims=True)) / np.sqrt(s.var(axis=-1, keepdims=True) + eps)


def activated(kind, z):
    """Return f(z) and f'(z)."""
    if kind == "tanh":
        return np.tanh(z), 1 - np.tanh(z) ** 2
    out, slope = activate_forward(np.atleast_2d(z).copy(), None, kind)
    return out.reshape(z.shape), slope.reshape(z.shape)


def linear(shown, place, x):
    weight, bias = (*shown.of(place), None)[:2]
    return x @ weight.T + (0 if bias is None else bias)


def value_of(shown, place, formula):
    """Compute a formula of the forward pass."""
    part, name = place
    get = lambda other: shown.forward[part, other]  # noqa: E731
    eps = shown.model.config.layer_norm_eps
    if found := re.fullmatch(r"the table's row of the token's (\w+)", formula):
        (table,), layer = shown.of(place), shown.model.bert.embeddings
        numbers = {"id": shown.ids[0], "segment": 0 * shown.ids[0], "position": np.arange(6)}
        if isinstance(layer, WordEmbeddings):  # some families count from the padding on
            for added in layer.added:
                if added.name.startswith(found[1]):
                    numbers[found[1]] = added.numbers(shown.ids, 0 * shown.ids).reshape(-1)
        return table[numbers[found[1]]]
    if found := re.fullmatch(r"(\w+(?: \+ \w+)+) embedding", formula):
        return sum(get(f"{kind} embedding") for kind in found[1].split(" + "))
    if formula.startswith("x̂ * weight"):
        weight, bias = (*shown.of(place), None)[:2]
        assert ("bias" in formula) == (bias is not None)
        x̂ = standardized(shown.forward[shown.above(place)], eps)
        return x̂ * weight + (0 if bias is None else bias)
    if found := re.fullmatch(r"tanh\((x₀) Wᵀ \+ b\); x₀ is (.*)", formula):
        return np.tanh(linear(shown, place, shown.input(place, *found.groups())))
    if formula.startswith("normalized Eᵀ + bias"):
        table = shown.params["bert.embeddings.word_embeddings.weight"]
        return get("normalized") @ table.T + shown.of(place)[0]
    if found := re.fullmatch(
        r"(.+?) [WV]ᵀ( \+ b)?(, cut into heads)?(?:; (?:\w|x₀) (?:is|are) (.*))?", formula
    ):
        own = shown.of(place) or shown.of((part, name.removeprefix("distance ")))  # a shared map
        weight, bias = own
        assert bool(found[2]) == (bias is not None)
        assert (not shown.of(place)) == formula.endswith(f"those of the {name.split()[-1]}")
        x = shown.input(place, found[1], found[4] or "")
        out = x @ weight.T + (0 if bias is None else bias)
        return split(out) if found[3] else out
    if found := re.fullmatch(r"(turned )?query (?:turned )?keyᵀ / √H( \+ relative bias)?", formula):
        query, key = (get(f"{found[1] or ''}{role}") for role in ("query", "key"))
        bias = shown.forward["positions", "relative bias"] if found[2] else 0
        return query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1]) + bias
    if found := re.fullmatch(r"query keyᵀ / √\((\d)H\)( \+ relative scores)?", formula):
        scores = get("query") @ get("key").swapaxes(1, 2)
        scores /= np.sqrt(int(found[1]) * get("query").shape[-1])
        return scores + (get("relative scores") if found[2] else 0)
    if found := re.fullmatch(
        r"softmax of each row of the scores(?: with the tokens at most (\d+) away; 0 elsewhere)?",
        formula,
    ):
        scores = get("attention scores")
        far = np.abs(np.arange(6)[:, None] - np.arange(6)) > int(found[1] or 6)
        return softmax(np.where(far, -np.inf, scores))
    if formula == "weights value, the heads side by side":
        return merge(get("attention weights") @ get("value"))
    if found := re.fullmatch(r"(x|r) \+ (.+?); \w is (.*)", formula):
        first = found[1] == "x" or not any(
            n.startswith("residual") for p, n in shown.places[: shown.places.index(place)]
        )
        said = found[3].removeprefix("the last residual sum, in the first block ")
        x = shown.input(place, found[1], said) if first else shown.before(place, "residual sum")
        return x + get(found[2])
    if found := re.fullmatch(r"(\w+)\(([\w-]+)\)( \* gate)?", formula):
        out, _ = activated(found[1], get(found[2]))
        return out * get("gate") if found[3] else out
    return value_beside(shown, place, formula)


def value_beside(shown, place, formula):
    """Compute a formula of positions beside attention."""
    part, _ = place
    get = lambda other: shown.forward[part, other]  # noqa: E731
    if formula.startswith("position · θ^(-2i/H) for the pair i of units"):
        config, H = shown.model.config, shown.model.config.hidden_size // K
        theta = config.local_rope_theta if "another" in formula else config.rope_theta
        angles = np.arange(6)[:, None] * theta ** (-np.arange(0, H, 2) / H)
        return np.arctan2(np.sin(angles), np.cos(angles))
    if found := re.fullmatch(
        r"(\w+), the units i and i \+ H/2 turned by (.+) i, side by side", formula
    ):
        angle = shown.forward["positions", found[2]]
        a, b = np.split(get(found[1]), 2, axis=-1)
        turned = [a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)]
        return np.stack(turned, axis=-1).reshape(get(found[1]).shape)
    if formula.startswith("the table's number of the bucket of the distance j - i"):
        (table,) = shown.of(place)
        return table[relative_buckets(6)].transpose(2, 0, 1)  # (T, T, K) -> (K, T, T)
    if formula.startswith("the table's rows of the distances i - j that occur"):
        (table,) = shown.of(place)
        return table[np.unique(distance_rows(shown))]
    if found := re.fullmatch(r"\((.*)\) / √\((\d)H\)", formula):
        H, total = get("query").shape[-1], 0
        at = np.searchsorted(np.unique(distance_rows(shown)), distance_rows(shown))  # (T, T)
        for product in found[1].split(" + "):
            content, vectors = re.fullmatch(r"(\w+) · (.+) of i - j", product).groups()
            rows = get(vectors)[:, at]  # (K, T, T, H)
            tokens = get(content)
            tokens = tokens[:, :, None] if content == "query" else tokens[:, None]
            total = total + (tokens * rows).sum(axis=-1)
        return total / np.sqrt(int(found[2]) * H)
    raise AssertionError(f"{place}: {formula}")


def distance_rows(shown):
    """Return the row of each distance i - j of query and key, (T, T)."""
    c, distances = shown.model.config, np.arange(6)[:, None] - np.arange(6)
    if c.position_buckets > 0:
        distances = log_buckets(distances.ravel(), c.span, c.farthest).reshape(6, 6)
    return np.clip(c.span + distances, 0, 2 * c.span - 1)


def test_every_array_is_what_its_formula_says(shown):
    for place in shown.places:
        entry, _ = shown.formulas[place]
        want = value_of(shown, place, entry.forward)
        np.testing.assert_allclose(
            shown.forward[place], want, 1e-9, 1e-11, err_msg=f"{place}: {entry.forward}"
        )


def terms_of(formula):
    """Cut a sum into its terms, at + outside of brackets."""
    terms, depth = [""], 0
    for letter in formula:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "+" and not depth:
            terms.append("")
        else:
            terms[-1] += letter
    return [term.strip() for term in terms]


def part_above(shown, part):
    """Return the part whose layer reads the output of this one."""
    parts = [p for p in dict.fromkeys(p for p, _ in shown.places) if p != "positions"]
    return parts[parts.index(part) + 1]


def gradient_of(shown, place, formula):
    """Compute a formula of the backward pass."""
    part, name = place
    target = shown.gradient[place]
    if formula in ("d attention scores, summed over the blocks", "Σ d distance key Wk + d distance "
                   "query Wq, of all blocks"):  # fmt: skip
        return over_blocks(shown, name)
    if formula == "(probabilities - targets) / C for the C labels":
        return (shown.loss["probabilities"] - shown.loss["targets"]) / 3
    if formula == "2 (logit - target)":
        return 2 * (shown.forward[place] - shown.loss["target"])
    if formula.startswith(("softmax - one-hot", "(softmax - one-hot")):
        shares, hot = softmax(shown.forward[place]), np.zeros(target.shape)
        if target.ndim == 1:
            hot[shown.model.config.label2id[shown.values.labels[0]]] = 1
            return shares - hot
        hot[3, TOKENIZER.vocab["cat"]] = 1
        return np.where(hot.any(axis=1, keepdims=True), shares - hot, 0)
    if formula == "d embedding sum: a sum passes its gradient to each summand":
        return shown.gradient[part, "embedding sum"]
    text, _, ending = formula.partition(", of the ")
    reader = part_above(shown, part) if ending else part
    total = sum(term_of(shown, reader, name, term) for term in terms_of(text))
    if ending.endswith("for each token"):
        return np.tile(total / 6, (6, 1))
    if ending.endswith("for the others"):
        return np.vstack([total, np.zeros((5, len(total)))])
    return total


def norm_input(shown, part, out):
    """Return the gradient of a norm's input, from that of its output."""
    weight = shown.of((part, out))[0]
    s = shown.forward[shown.above((part, out))]
    eps = shown.model.config.layer_norm_eps
    g = shown.gradient[part, out] * weight
    x̂ = standardized(s, eps)
    mean = lambda a: a.mean(axis=-1, keepdims=True)  # noqa: E731
    return (g - mean(g) - x̂ * mean(g * x̂)) / np.sqrt(s.var(axis=-1, keepdims=True) + eps)


def term_of(shown, part, name, term):
    """Compute a term of a formula of the backward pass, whose arrays are in a part."""
    d = lambda name: shown.gradient[part, name]  # noqa: E731
    get = lambda name: shown.forward[part, name]  # noqa: E731
    if found := re.match(r"\(g - mean\(g\).*g = d (.+) \* weight", term):
        return norm_input(shown, part, found[1])
    if found := re.fullmatch(r"d (.+), unchanged", term):
        return d(found[1])
    if found := re.fullmatch(r"d (query|key|value) W\w", term):
        return merge(d(found[1])) @ shown.of((part, found[1]))[0]
    if term == "d logits E":
        return d("logits") @ shown.params["bert.embeddings.word_embeddings.weight"]
    if term == "(d pooler * (1 - pooler²)) W":
        dz = d("pooler") * (1 - get("pooler") ** 2)
        return dz @ shown.of((part, "pooler"))[0]
    if found := re.fullmatch(r"d (.+) [WV]", term):
        return d(found[1]) @ shown.of((part, found[1]))[0]
    if term == "d activation * (1 - activation²)":
        return d("activation") * (1 - get("activation") ** 2)
    if found := re.fullmatch(r"d (.+?)( \* gate)? \* (\w+)('?)\((.+)\)", term):
        slope = activated(found[3], get(found[5]))[bool(found[4])]
        return d(found[1]) * slope * (get("gate") if found[2] else 1)
    if term == "d heads valueᵀ":
        return split(d("heads' output")) @ get("value").swapaxes(1, 2)
    if term == "weightsᵀ d heads":
        return get("attention weights").swapaxes(1, 2) @ split(d("heads' output"))
    if term.startswith("w * (d w - Σ d w * w) of each row"):
        w, dw = get("attention weights"), d("attention weights")
        return w * (dw - (dw * w).sum(axis=-1, keepdims=True))
    if found := re.fullmatch(r"d (turned \w+), turned back", term):
        near = shown.forward.get(("positions", "angle in a window"))
        windowed = "window" in shown.formulas[part, found[1]][0].forward
        angle = near if windowed else shown.forward["positions", "angle"]
        pairs = d(found[1]).reshape(*d(found[1]).shape[:-1], -1, 2)
        a, b = pairs[..., 0], pairs[..., 1]
        back = [a * np.cos(angle) + b * np.sin(angle), b * np.cos(angle) - a * np.sin(angle)]
        return np.concatenate(back, axis=-1)
    if found := re.fullmatch(
        r"(\(d scores\)ᵀ|d scores) ((?:turned )?\w+) / √(?:H|\((\d)H\))", term
    ):
        dscores = d("attention scores")
        dscores = dscores.swapaxes(1, 2) if found[1].startswith("(") else dscores
        return dscores @ get(found[2]) / np.sqrt(int(found[3] or 1) * get(found[2]).shape[-1])
    if found := re.fullmatch(r"Σ d relative scores \* (.+?) / √\((\d)H\)(.*)", term):
        return through_distances(shown, part, name, found[1], int(found[2]))
    if found := re.fullmatch(r"d (residual sum \([a-z-]+\))", term):
        return d(found[1])
    raise AssertionError(f"{part}, {name}: {term}")


def through_distances(shown, part, name, other, factor):
    """Return the gradient of contents or of distances' vectors from that of the relative scores."""
    dscores = shown.gradient[part, "relative scores"]  # (K, T, T)
    at = np.searchsorted(np.unique(distance_rows(shown)), distance_rows(shown))
    read = shown.forward[part, other]
    scale = 1 / np.sqrt(factor * read.shape[-1])
    if other.startswith("distance"):  # of a content
        parts = dscores[..., None] * read[:, at]  # (K, T, T, H)
        return parts.sum(axis=2 if name == "query" else 1) * scale
    total = np.zeros_like(shown.forward[part, name])
    tokens = read[:, :, None] if other == "query" else read[:, None]
    np.add.at(total.swapaxes(0, 1), at, (dscores[..., None] * tokens).transpose(1, 2, 0, 3))
    return total * scale


def over_blocks(shown, name):
    """Return the sum over the blocks of what reaches positions beside attention."""
    if name == "relative bias":
        return sum(a for (_, n), a in shown.gradient.items() if n == "attention scores")
    total = 0
    for (part, each), gradient in shown.gradient.items():
        if each.startswith("distance ") and part.startswith("block"):
            parameters = shown.of((part, each)) or shown.of((part, each.split()[1]))
            total = total + merge(gradient) @ parameters[0]
    return total


def test_every_gradient_is_what_its_formula_says(shown):
    for place in shown.gradient:
        entry, _ = shown.formulas[place]
        want = gradient_of(shown, place, entry.backward)
        np.testing.assert_allclose(
            shown.gradient[place], want, 1e-8, 1e-10, err_msg=f"{place}: {entry.backward}"
        )


def value_of_loss(shown, name, formula):
    """Compute a formula between the logits and the loss."""
    logits, get, task = shown.forward["head", "logits"], shown.loss, shown.task
    if formula == "exp(logit) / Σ exp(logits) of each row":
        return softmax(logits)
    if formula == "- log softmax of the label":
        at = TOKENIZER.vocab["cat"] if task is None else task.ids[shown.values.labels[0]]
        return -np.log(get["softmax"][3, at] if task is None else get["softmax"][at])
    if formula == "1 / (1 + exp(-logit)) of each label":
        return 1 / (1 + np.exp(-logits))
    if formula == "1 above the thresholds, 0 elsewhere; they are 0.1, 0.9, 0.25":
        return get["probabilities"] > [0.1, 0.9, 0.25]
    if formula == "1 for each label of the text, 0 for the others":
        return np.isin(task.names, shown.values.labels)
    if formula == "- the mean of y log p + (1 - y) log(1 - p), p the probabilities, y the targets":
        p, y = get["probabilities"], get["targets"]
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    if formula == "logit * std + mean; mean is 2, std 0.5":
        return logits[0] * 0.5 + 2
    if formula == "(label - mean) / std; mean is 2, std 0.5":
        return (float(shown.values.labels[0]) - 2) / 0.5
    if formula == "(logit - target)²":
        return (logits[0] - get["target"]) ** 2
    raise AssertionError(f"{name}: {formula}")


def test_every_array_of_the_loss_is_what_its_formula_says(shown):
    tensors = [t for t in shown.values.forward if t.part == "loss"]
    assert tensors[-1].name == "loss"
    for each in tensors:
        want = value_of_loss(shown, each.name, each.formula)
        np.testing.assert_allclose(each.value, want, 1e-9, 1e-12, err_msg=each.name)


def test_rows_of_distances_are_not_named_after_tokens_of_the_same_number():
    model = made(
        "deberta-v2", CLASSES, **SIZES | {"position_buckets": -1}, max_relative_positions=2
    )
    values = values_of(model, TOKENIZER, "the cat")
    assert len(values.tokens) == 4
    rows = {t.name: t.rows for t in values.forward if t.value.shape[-2:-1] == (4,)}
    of_distances = [name for name in rows if "distance" in name and not name.startswith("bert.")]
    assert of_distances == ["distance embedding", "normalized (distances)", "distance key",
                            "distance query"]  # fmt: skip
    assert not any(rows[name] for name in of_distances)
    assert rows["query"] == rows["embedding sum" if "embedding sum" in rows else "word embedding"]


def test_every_parameter_is_shown_once_and_its_gradient_is_that_of_the_loss(shown):
    model = shown.model
    used = {*model.params}
    for tensors, front in ((shown.values.forward, ""), (shown.values.backward, "d ")):
        names = [t.name.removeprefix(front) for t in tensors if t.name.startswith(front)]
        assert sorted(n for n in names if n in used) == sorted(used)
    labels = np.where(shown.ids == TOKENIZER.mask_token_id, TOKENIZER.vocab["cat"], -100)
    if not model.predicts_tokens:
        (said,) = shown.values.labels[:1]
        label = {"multi-label": shown.values.labels, "regression": 3.25}.get(shown.task.name, said)
        labels = np.array([shown.task.encode_label(label)])
    loss, grads = model.loss_and_grads({"input_ids": shown.ids}, labels)
    assert shown.values.loss == pytest.approx(loss, rel=1e-9)
    for tensor in shown.values.backward:
        if (name := tensor.name.removeprefix("d ")) in used:
            np.testing.assert_allclose(tensor.value, grads[name], 1e-8, 1e-10, err_msg=name)
            assert tensor.formula


def test_every_array_is_printed_with_a_name_for_each_row(shown):
    lines = list(printed_values(shown.values))
    for tensor in (*shown.values.forward, *shown.values.backward):
        assert any(line.startswith(f"  {tensor.name}") for line in lines)
        assert len(tensor.rows) in (0, *tensor.value.shape[-2:-1])
        assert len(tensor.columns) in (0, *tensor.value.shape[-1:])


def test_hidden_states_and_attentions_are_those_of_a_call(shown):
    seen = inspect_text(shown.model, TOKENIZER, "the cat [MASK] on")
    out = shown.model(shown.ids, output_hidden_states=True, output_attentions=True)
    for own, other in ((seen.hidden_states, out.hidden_states), (seen.attentions, out.attentions)):
        np.testing.assert_allclose(own, np.concatenate(other), 1e-9, 1e-12)


def test_every_array_has_a_chapter_of_the_course(shown):
    assert all(chapter_of(name) for _, name in shown.places)


def test_every_layer_that_is_read_has_formulas():
    """But for a pooler and a norm, which are shown as parts of others, and heads of tokens."""
    names = {kind.__name__ for kind in READERS} - {kind.__name__ for kind in FORMULAS}
    assert names == {"Pooler", "LayerNorm", "TwoLayerHead"}
