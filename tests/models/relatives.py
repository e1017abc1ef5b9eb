"""Tiny models of BERT's relatives: each family and each use, with a batch and labels."""

import numpy as np

from minibert.models.table import FAMILIES, family_class, model_class

B, T, V, D = 4, 11, 37, 24
RNG = np.random.default_rng(0)
MASK = (np.arange(T) < np.array([T, 7, 4, 9])[:, None]).astype(np.int64)
MASK[0, 3] = MASK[3, 5] = 0  # padding inside a text
IDS = np.where(MASK, RNG.integers(2, V, (B, T)), 0)
HIDDEN = np.where(MASK & (RNG.random((B, T)) < 0.4), IDS, -100)
# The families whose classes are in files of their own.
RELATIVES = [name for name, family in FAMILIES.items() if "families" in family.module]
SIZES = {
    "vocab_size": V,
    "hidden_size": D,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 17,
    "id2label": {0: "a", 1: "b", 2: "c"},
}
# The layers of the ALBERT have the groups 0, 0 and 1; two of the ModernBERT have a window of two
# tokens on each side.
OF_FAMILY = {
    "electra": {"embedding_size": 10}, "albert": {"embedding_size": 10, "num_hidden_groups": 2},
    "modernbert": {"pad_token_id": 0, "local_attention": 4, "local_rope_theta": 90.0},
    # 3H is a square, because transformers takes the root in float32.
    "deberta-v2": {
        "num_attention_heads": 2, "relative_attention": True, "pos_att_type": ("c2p", "p2c"),
        "position_buckets": 6, "share_att_key": True, "norm_rel_ebd": "layer_norm",
        "position_biased_input": False, "problem_type": "single_label_classification",
    },
}  # fmt: skip
TWO = {"id2label": {0: "no", 1: "yes"}}
# By use: fields of the configuration, the labels, and parameters without a gradient, because they
# add the same to all logits of a softmax.
USES = {
    "ForMaskedLM": ({}, HIDDEN, ()),
    "ForSequenceClassification": ({}, np.array([0, 2, 1, 1]), ()),
    "ForTokenClassification": ({}, np.where(HIDDEN < 0, HIDDEN, HIDDEN % 3), ()),
    "ForQuestionAnswering": (
        TWO,
        {"start_positions": np.array([2, 1, 0, 5]), "end_positions": np.array([9, 4, 0, 8])},
        ("qa_outputs.bias", "layer.2.output.LayerNorm.bias"),
    ),
    "ForMultipleChoice": ({}, np.array([0, 2, 1, 1]), ("classifier.bias",)),
    "ForPreTraining": ({}, np.where(MASK, IDS % 2, -100), ()),
}
# Where a family differs from the others.
ANSWERS = USES["ForQuestionAnswering"]
OF_USE = {
    ("albert", "ForPreTraining"): (
        TWO, {"labels": HIDDEN, "sentence_order_label": np.array([0, 1, 1, -100])}, ()
    ),
    ("albert", "ForQuestionAnswering"): (
        *ANSWERS[:2], ("qa_outputs.bias", "layer.1.0.output.LayerNorm.bias")
    ),
    # A window in which every padded token, whose logits count, has a token to attend to.
    ("modernbert", "ForQuestionAnswering"): (
        {**TWO, "local_attention": 14}, ANSWERS[1], ("classifier.bias",)
    ),
}  # fmt: skip
# Each family's uses with a head of its own.
CASES = [
    (name, use) for name in RELATIVES for use in USES if use in FAMILIES[name].uses
]  # fmt: skip


def use_of(family, use):
    """Return what a use needs, as in `USES`, for a family."""
    return OF_USE.get((family, use)) or USES.get(use, ({}, None, ()))


def config(family, **changes):
    """Return a tiny configuration of a family."""
    return family_class(family, "Config")(**{**SIZES, **OF_FAMILY.get(family, {}), **changes})


def batch_of(family, use="Model"):
    """Return a batch (dict) whose padding has the family's id, and segments if it has any."""
    pad, segments = config(family).pad_token_id, config(family).type_vocab_size or 2
    padding = MASK == 0
    # Padding takes part in the softmax of answers, and PyTorch drops the gradient of its id.
    ids = np.where(padding, 7 if use == "ForQuestionAnswering" else pad, IDS)
    types = np.arange(B * T).reshape(B, T) // 3 % segments
    batch = {"input_ids": ids, "token_type_ids": types, "attention_mask": MASK}
    if use == "ForMultipleChoice":
        batch = {n: np.stack([a, a[::-1], np.roll(a, 1, 0)], axis=1) for n, a in batch.items()}
    return batch


def made(family, use="ForMaskedLM", dtype=np.float64, **changes):
    """Return a model of a family with every parameter away from its initial value."""
    fields = {**use_of(family, use)[0], **changes}
    model = model_class(FAMILIES[family].front + use)(config(family, **fields), dtype=dtype)
    rng = np.random.default_rng(1)
    for name, array in model.params.items():
        array[...] = rng.normal(0, 0.15, array.shape) + name.endswith("LayerNorm.weight")
    return model
