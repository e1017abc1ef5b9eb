"""`minibert.by_hand`, the plain version, against the package: losses, gradients, training."""

import ast
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minibert
from minibert import BertConfig, BertForMaskedLM, BertForSequenceClassification, by_hand
from minibert.gradcheck import away_from_initial, check_pair
from minibert.training import AdamW, Engine, linear_schedule

SOURCE = Path(by_hand.__file__).read_text(encoding="utf-8")
# Pairwise distinct, and more than one of each.
B, T, K, H, F, L, V, C = 3, 7, 2, 4, 11, 2, 13, 5
ROUNDING = 1e-15  # a few units in the last place of 1, the size of softmax and one_hot
SIZES = {"B": B, "T": T, "K": K, "H": H, "F": F, "L": L, "V": V, "C": C}


def numbers(*shape, seed=0):
    """Return standard normal numbers (float64 array)."""
    return np.random.default_rng(seed).normal(size=shape)


def make_config(K, H, F, L, V, T, C, **_):
    return BertConfig(
        vocab_size=V,
        hidden_size=K * H,
        num_hidden_layers=L,
        num_attention_heads=K,
        intermediate_size=F,
        max_position_embeddings=T + 2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label={i: str(i) for i in range(C)},
    )


def make_model(kind, sizes, seed=0):
    """Return a float64 model whose parameters are away from their initial values."""
    model = kind(make_config(**sizes), seed=seed, dtype=np.float64)
    return kind(model.config, params=away_from_initial(model.params, seed=seed))


def make_batch(sizes, seed=0):
    """Return a batch with padding and repeated ids in the forms of minibert and by_hand."""
    rng = np.random.default_rng(seed)
    shape = B, T = sizes["B"], sizes["T"]
    lengths = np.append(rng.integers(1, T + 1, B - 1), T)  # (B,)
    mask = (np.arange(T) < lengths[:, None]).astype(np.int64)  # (B, T)
    ids = rng.integers(0, sizes["V"], shape) * mask
    ids[-1, -1] = ids[-1, 0]  # repeated
    types = rng.integers(0, 2, shape)
    batch = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
    return batch, (ids, types, mask)


def make_labels(kind, sizes, mask, seed=0):
    """Return labels; some are ignored, at least one is not."""
    rng = np.random.default_rng(seed + 1)
    if kind is BertForSequenceClassification:
        labels = rng.integers(0, sizes["C"], sizes["B"])
        labels[1:-1] = by_hand.IGNORED
        return labels
    labels = rng.integers(0, sizes["V"], mask.shape)
    return np.where((rng.random(mask.shape) < 0.4) & (mask == 1), labels, by_hand.IGNORED)


def copied(parameters):
    return {name: np.array(array) for name, array in parameters.items()}


def assert_close(ours, theirs, tolerance, rounding=0.0):
    """Compare arrays by name; the error is relative to the tensor's largest value.

    Args:
        ours, theirs: arrays by name.
        tolerance: of the relative error.
        rounding: an absolute error that is allowed besides.
    """
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        allowed = tolerance * np.abs(array).max() + rounding
        if name.endswith("key.bias"):  # adds the same to all scores of a row: its gradient is 0
            allowed += ROUNDING
        error = np.abs(ours[name] - array).max()
        assert error <= allowed, f"{name}: error {error:.1e}, allowed {allowed:.1e}"


def compare(kind, sizes, seed=0, denominator=0, rounding=0.0):
    """Compare loss and gradients of one batch; return by_hand's gradients."""
    model = make_model(kind, sizes, seed)
    batch, plain = make_batch(sizes, seed)
    labels = make_labels(kind, sizes, batch["attention_mask"], seed)
    loss, grads = model.loss_and_grads(batch, labels, denominator=denominator or None)
    ours, our_grads = by_hand.loss_and_grads(
        copied(model.params), plain, labels, sizes["K"], denominator
    )
    assert abs(ours - loss) <= 1e-12 * max(abs(loss), 1)
    assert_close(our_grads, copied(grads), 1e-12, rounding)
    return our_grads


KINDS = pytest.mark.parametrize("kind", [BertForMaskedLM, BertForSequenceClassification])


@KINDS
@pytest.mark.parametrize("denominator", [0, 17])
def test_loss_and_grads_equal_the_package(kind, denominator):
    grads = compare(kind, SIZES, denominator=denominator)
    for name, gradient in grads.items():
        if not name.endswith("key.bias"):
            assert np.abs(gradient).max() > 1e-6, name


@KINDS
@settings(max_examples=15)
@given(
    sizes=st.fixed_dictionaries(
        {"B": st.integers(2, 4), "T": st.integers(2, 9), "K": st.integers(2, 3)}
        | {"H": st.integers(2, 5), "F": st.integers(1, 9), "L": st.integers(1, 3)}
        | {"V": st.integers(5, 12), "C": st.integers(2, 4)}
    ),
    seed=st.integers(0, 1000),
)
def test_loss_and_grads_equal_the_package_for_any_sizes(kind, sizes, seed):
    # softmax - one_hot cancels where the model is sure, so the smallest gradients are rounded more.
    compare(kind, sizes, seed, rounding=ROUNDING)


@KINDS
def test_ten_steps_equal_the_engine(kind):
    """Parameters after ten steps with clipping, warm-up and decay; a new batch at each step."""
    model = make_model(kind, SIZES)
    engine = Engine(model, AdamW(model.params), threads=1)
    p = copied(model.params)
    m, v = ({name: np.zeros_like(array) for name, array in p.items()} for _ in range(2))
    norms = []
    for step in range(10):
        batch, plain = make_batch(SIZES, seed=step)
        labels = make_labels(kind, SIZES, batch["attention_mask"], seed=step)
        result = engine.step([(batch, labels)], linear_schedule(step, 10, 3, 1e-2))
        loss, g = by_hand.loss_and_grads(p, plain, labels, K)
        norms.append(by_hand.clip_gradients(g))
        rate = by_hand.linear_schedule(step, 10, 3, 1e-2)
        by_hand.adamw_update(p, g, m, v, step + 1, rate)
        assert loss == pytest.approx(result.loss, rel=1e-10)
        assert norms[-1] == pytest.approx(result.norm, rel=1e-10)
    assert max(norms) > 1, "no gradient was clipped"
    assert_close(p, copied(model.params), 1e-10)
    start = make_model(kind, SIZES).params
    assert all(np.abs(p[name] - start[name]).max() > 1e-3 for name in p if "key.bias" not in name)


def test_masked_lm_logits_equal_the_package():
    model = make_model(BertForMaskedLM, SIZES)
    batch, plain = make_batch(SIZES)
    x, _ = by_hand.body_forward(copied(model.params), plain, K)
    logits, _ = by_hand.mlm_head_forward(copied(model.params), x)
    np.testing.assert_allclose(logits, model(**batch).logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("total", "warmup"), [(10, 3), (6, 2), (5, 0), (4, 4)])
def test_linear_schedule_equals_the_package(total, warmup):
    for step in range(total):
        ours = by_hand.linear_schedule(step, total, warmup, 0.3)
        assert ours == linear_schedule(step, total, warmup, 0.3)


def test_clip_gradients_leaves_short_gradients_alone():
    g = {"a": np.array([0.3, 0.0]), "b": np.array([[0.4]])}
    assert by_hand.clip_gradients(g) == pytest.approx(0.5)
    assert g["a"].tolist() == [0.3, 0]
    assert by_hand.clip_gradients(g, longest=0.25) == pytest.approx(0.5)
    assert g["a"].tolist() == [0.15, 0]
    assert g["b"].tolist() == [[0.2]]


def test_initial_params_have_the_names_and_shapes_of_the_package():
    sizes = {"V": V, "D": K * H, "F": F, "L": L, "T": T + 2, "C": C}
    p = by_hand.initial_params(**sizes, std=0.02, seed=0)
    config = make_config(**SIZES)
    expected = {}
    for kind in (BertForMaskedLM, BertForSequenceClassification):
        expected |= {name: array.shape for name, array in kind(config).params.items()}
    assert {name: array.shape for name, array in p.items()} == expected
    for name, array in p.items():
        if name.endswith("LayerNorm.weight"):
            assert (array == 1).all(), name
        elif name.endswith("bias"):
            assert (array == 0).all(), name
        else:
            assert 0.01 < array.std() < 0.03, name


# ---- Each pair by itself ----


def check_with_params(forward, backward, name, **params):
    """Check the gradients of a pair with respect to its input and its parameters."""

    def named(params):
        return {f"{name}.{key}": array for key, array in params.items()}

    def call_forward(x, **params):
        return forward(named(params), name, x)

    def call_backward(dout, cache, x, **params):
        g = {key: np.ones_like(array) for key, array in named(params).items()}
        dx = backward(dout, cache, named(params), g, name)  # adds to the ones
        return {"x": dx, **{key: g[f"{name}.{key}"] - 1 for key in params}}

    check_pair(call_forward, call_backward, {"x": numbers(B, T, F), **params})


def test_linear_gradient():
    weight, bias = numbers(V, F, seed=1), numbers(V, seed=2)
    check_with_params(
        by_hand.linear_forward, by_hand.linear_backward, "linear", weight=weight, bias=bias
    )


def test_layer_norm_gradient():
    weight, bias = 1 + 0.3 * numbers(F, seed=1), numbers(F, seed=2)
    check_with_params(
        by_hand.layer_norm_forward, by_hand.layer_norm_backward, "norm", weight=weight, bias=bias
    )


def test_gelu_gradient():
    check_pair(
        by_hand.gelu_forward,
        lambda dout, cache, x: by_hand.gelu_backward(dout, cache),
        {"x": 2 * numbers(B, F)},
    )


def test_softmax_gradient():
    visible = np.arange(T) < np.array([[T], [3], [1]])  # (B, T)
    check_pair(
        lambda scores: by_hand.softmax_forward(scores, visible),
        lambda dout, cache, scores: by_hand.softmax_backward(dout, cache),
        {"scores": numbers(B, T)},
    )


def test_attention_gradient():
    mask = (np.arange(T) < np.array([[T], [3], [0]])).astype(np.int64)  # (B, T)
    check_pair(
        lambda q, k, v: by_hand.attention_forward(q, k, v, mask),
        lambda dout, cache, **_: by_hand.attention_backward(dout, cache),
        {name: numbers(B, K, T, H, seed=i) for i, name in enumerate("qkv")},
    )


def test_cross_entropy_gradient():
    labels = np.array([[0, 3, -100], [2, -100, 2]])
    check_pair(
        lambda logits: by_hand.cross_entropy_forward(logits, labels),
        lambda dloss, cache, logits: dloss * by_hand.cross_entropy_backward(cache),
        {"logits": numbers(2, 3, C)},
    )


def test_attention_weights_are_zero_at_padding():
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0]])
    parts = [numbers(2, K, 4, H, seed=i) for i in range(3)]
    out, (_, _, _, weights) = by_hand.attention_forward(*parts, mask)
    assert (weights[0, :, :, 2] == 0).all()
    np.testing.assert_allclose(weights[0].sum(axis=-1), 1, rtol=1e-15)
    assert (weights[1] == 0).all()
    assert (out[1] == 0).all()


def test_merge_heads_undoes_split_heads():
    x = numbers(B, T, K * H)
    assert by_hand.split_heads(x, K).shape == (B, K, T, H)
    assert (by_hand.merge_heads(by_hand.split_heads(x, K)) == x).all()


def test_cross_entropy_without_labels_is_zero():
    labels = np.full((B, T), by_hand.IGNORED)
    loss, cache = by_hand.cross_entropy_forward(numbers(B, T, V), labels)
    assert loss == 0
    assert (by_hand.cross_entropy_backward(cache) == 0).all()


@pytest.mark.parametrize("vocab_size", [6, 1000])
def test_mask_tokens_shows_80_10_10(vocab_size):
    rng = np.random.default_rng(0)
    special, ordinary = rng.integers(0, 4, (200, 200)), rng.integers(4, vocab_size, (200, 200))
    ids = np.where(rng.random((200, 200)) < 0.1, special, ordinary)
    shown, labels = by_hand.mask_tokens(ids, vocab_size, rng)
    targets = labels != by_hand.IGNORED
    assert (labels[targets] == ids[targets]).all()
    assert (shown[~targets] == ids[~targets]).all()
    assert not targets[ids <= by_hand.MASK].any()
    assert targets[ids > by_hand.MASK].mean() == pytest.approx(0.15, abs=0.01)
    masked, same = shown[targets] == by_hand.MASK, shown[targets] == ids[targets]
    assert masked.mean() == pytest.approx(0.8, abs=0.02)
    assert same.mean() == pytest.approx(0.1 + 0.1 / (vocab_size - 4), abs=0.02)
    assert (shown[targets][~masked] > by_hand.MASK).all()
    assert shown.max() < vocab_size


# ---- The file ----


def test_it_imports_only_numpy_and_math():
    imported = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported == {"math", "numpy", "numpy.typing"}


def test_it_has_at_most_400_lines():
    assert len(SOURCE.splitlines()) <= 400


def test_every_backward_is_right_below_its_forward():
    names = [node.name for node in ast.parse(SOURCE).body if isinstance(node, ast.FunctionDef)]
    pairs = [name.removesuffix("_backward") for name in names if name.endswith("_backward")]
    assert len(pairs) >= 9
    for name in pairs:
        assert names[names.index(name + "_backward") - 1] == name + "_forward"


def test_nothing_in_the_package_imports_it():
    for path in Path(minibert.__file__).parent.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "by_hand" in source and path.name != "by_hand.py":  # it may be mentioned
            assert "by_hand" not in imported_names(source), path


def imported_names(source):
    """Return every part of every imported name (set of strings)."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {part for alias in node.names for part in alias.name.split(".")}
            names |= set((getattr(node, "module", None) or "").split("."))
    return names


def test_imported_names_sees_every_form():
    for source in ("import minibert.by_hand", "from minibert import by_hand as b"):
        assert "by_hand" in imported_names(source)
    for source in ("from .by_hand import main", "from minibert.by_hand import main"):
        assert "by_hand" in imported_names(source)
    assert "by_hand" not in imported_names("x = 'by_hand'")


def printed_losses(text):
    return [float(number) for number in re.findall(r"Step .*loss (\d+\.\d+)", text)]


def test_main_prints_a_falling_loss(capsys):
    by_hand.main(steps=20)
    losses = printed_losses(capsys.readouterr().out)
    assert len(losses) >= 5
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.slow
def test_the_whole_run_learns_more_than_frequencies(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["by_hand"])
    monkeypatch.delitem(sys.modules, "minibert.by_hand")
    runpy.run_module("minibert.by_hand", run_name="__main__")
    out = capsys.readouterr().out
    baseline = float(re.search(r"baseline.*?(\d+\.\d+)", out).group(1))
    assert printed_losses(out)[-1] < baseline - 1
