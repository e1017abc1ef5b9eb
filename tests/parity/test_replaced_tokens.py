"""Replaced-token detection equals transformers' two models with tied tables and equal samples."""

import json

import numpy as np
import pytest

from minibert import AutoTokenizer
from minibert.cli import main
from minibert.functional import IGNORED
from minibert.models.replaced_tokens import GENERATOR, TABLES
from minibert.objectives import ReplacedTokens
from minibert.parameters import Parameters
from tests.objectives.test_replaced_tokens import SETTINGS, loss_of, models, padded, texts
from tests.parity.test_transformers import tensors

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def opened(folder):
    """Return the generator and the discriminator as transformers opens them."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    found = []
    for kind, place in (("MaskedLM", folder / GENERATOR), ("PreTraining", folder)):
        model, info = getattr(transformers, f"ElectraFor{kind}").from_pretrained(
            place, dtype=torch.float64, output_loading_info=True, attn_implementation="eager"
        )
        assert not any(info.values()), info  # no missing, unexpected or mismatched tensor
        found.append(model.eval())
    return found


def test_loss_and_gradients_are_those_of_both_models_glued_together(tokenizer, tmp_path):
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    objective = ReplacedTokens(
        models(tokenizer, np.float64), tokenizer, texts(tokenizer)[6:], None, SETTINGS
    )
    batch, labels = padded(objective)
    grads = objective.model.params.zeros_like()
    loss = loss_of(objective, [(batch, labels)], grads)

    objective.model.save_pretrained(tmp_path)
    generator, discriminator = opened(tmp_path)
    for part in ("word", "position", "token_type"):  # tied
        table = getattr(discriminator.electra.embeddings, f"{part}_embeddings")
        setattr(generator.electra.embeddings, f"{part}_embeddings", table)
    generator.tie_weights()
    inputs = tensors(batch)
    out = generator(**inputs, labels=torch.tensor(labels["labels"]))
    places = labels["labels"] != IGNORED
    probabilities = out.logits.detach().softmax(-1).numpy()[places]
    totals, draws = probabilities.cumsum(axis=1), labels["draws"][places]
    samples = (totals <= draws[:, None] * totals[:, -1:]).sum(axis=1)
    original = np.where(places, labels["labels"], batch["input_ids"])
    ids = original.copy()
    ids[places] = samples
    assert (ids != original).any()
    scores = discriminator(**{**inputs, "input_ids": torch.tensor(ids)}).logits
    real = torch.tensor(batch["attention_mask"] == 1)
    is_replaced = torch.tensor((ids != original).astype(float))
    reference = out.loss + 50 * binary_cross_entropy_with_logits(scores[real], is_replaced[real])
    reference.backward()

    assert abs(loss - reference.item()) <= 1e-10 * abs(loss)
    both = zip(
        objective.model.gradients_of(grads),
        (objective.model.generator, objective.model.discriminator),
        (generator, discriminator),
        strict=True,
    )
    for own, model, peer in both:
        theirs = {name: each.grad.numpy() for name, each in peer.named_parameters()}
        for name, gradient in own.items():
            (name_there,) = model.file_names.outward(Parameters({name: gradient.shape}))
            assert_near(name, gradient, theirs[name_there])


def assert_near(name, gradient, expected):
    if name == TABLES[0]:  # PyTorch gives the padding token's row no gradient; see relatives.md
        gradient, expected = (np.delete(each, 0, axis=0) for each in (gradient, expected))
    if name.endswith("key.bias"):
        assert max(np.abs(gradient).max(), np.abs(expected).max()) <= 1e-10
        return
    assert np.linalg.norm(expected) > 0, name
    assert np.linalg.norm(gradient - expected) <= 1e-10 * np.linalg.norm(expected), name


def test_transformers_opens_both_models_of_a_run_with_their_tokenizer(tokenizer, tmp_path,
                                                                      monkeypatch):  # fmt: skip
    import transformers

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lines = [f"the cat sat on the mat {n % 7}\na dog ran under a tree" for n in range(40)]
    (tmp_path / "corpus.txt").write_text("\n\n".join(lines) + "\n", "utf-8")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    words = ["pretrain", tmp_path / "corpus.txt", "--tokenizer", tmp_path / "tokenizer",
             "--length", 12, "--steps", 2, "--batch-size", 4, "--objective", "replaced-tokens",
             "--size", "nano", "--out", tmp_path / "model"]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    opened(tmp_path / "model")
    for folder in (tmp_path / "model", tmp_path / "model" / GENERATOR):
        stated = json.loads((folder / "config.json").read_text())
        assert stated["model_type"] == "electra"
        assert stated["embedding_size"] == 64
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        ours = AutoTokenizer.from_pretrained(folder)
        text = "the cat ran under a mat"
        assert theirs(text)["input_ids"] == ours.encode(text).input_ids
