"""minibert and its peers with one interface for pre-training: `step`, `loss` and `about`.

All start from the same initial weights, drawn by minibert; the parameter names are the same. Their
batches contain full sequences without padding. `loss` is computed without dropout, so it shows
whether the sides compute the same. A peer's packages are imported when it is made, so that no other
process imports them.
"""

import os
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks import avx2
from benchmarks.harness import Missing
from minibert import BertConfig
from minibert.data.corpus import as_batch
from minibert.functional import IGNORED
from minibert.models.table import family_class
from minibert.objectives.evaluation import masked_lm_metrics
from minibert.runtime.threads import usable_cores
from minibert.training import AdamW, Engine, split_batch

CLIP, DECAY = 1.0, 0.01
EVAL_ROWS = 64  # sequences in a batch of the evaluation


class Minibert:
    """minibert with one shard per core.

    Args:
        config (BertConfig): sizes of the model.
        seed (int): seed of the weights and of dropout.
        threads (int): threads of a step; None: one per core.
    """

    def __init__(self, config, seed=0, threads=None):
        self.model = masked_lm(config, seed)
        adam = AdamW(self.model.params, weight_decay=DECAY)
        self.engine = Engine(self.model, adam, seed=seed, clip=CLIP, threads=threads)
        self.about = about_numpy(self.engine.threads)

    def step(self, ids, labels, rate=1e-4):
        """Train on a batch of masked sequences (B, T)."""
        batch = as_batch(ids, self.model.config.pad_token_id)
        self.engine.step(split_batch(batch, labels, self.engine.threads), rate)

    def loss(self, ids, labels):
        """Return the loss of masked sequences, without dropout."""
        return masked_lm_metrics(self.model, ids, labels, self.model.config.pad_token_id).loss


class PyTorch:
    """transformers' BERT on PyTorch: logits at masked positions only, fused AdamW."""

    def __init__(self, config, seed=0, threads=None):
        self.torch = use_torch(threads)
        self.model = on_torch(masked_lm(config, seed))
        self.adam = fused_adam(self.torch, self.model)
        self.about = about_torch(self.torch)

    def masked_loss(self, ids, positions, targets):
        """Return the cross-entropy of the targets at their positions (M,) in the batch."""
        return self.torch.nn.functional.cross_entropy(self.logits(ids, positions), targets)

    def logits(self, ids, positions):
        """Return the logits (M, V) at some positions (M,) in the batch."""
        hidden = self.model.bert(ids).last_hidden_state.flatten(0, 1)[positions]  # (M, D)
        return self.model.cls(hidden)

    def tensors(self, ids, labels):
        """Return tensors of the ids (B, T), the masked positions and their labels (M,)."""
        positions = np.flatnonzero(labels != IGNORED)
        return map(self.torch.as_tensor, (ids, positions, labels.reshape(-1)[positions]))

    def step(self, ids, labels, rate=1e-4):
        """Train on a batch of masked sequences (B, T)."""
        loss = self.masked_loss(*self.tensors(ids, labels))
        update(self.torch, self.model, self.adam, loss, rate)

    def loss(self, ids, labels):
        """Return the loss of masked sequences, without dropout."""
        self.model.eval()
        total = 0.0
        with self.torch.inference_mode():
            for start in range(0, len(ids), EVAL_ROWS):
                part = slice(start, start + EVAL_ROWS)
                tensors = list(self.tensors(ids[part], labels[part]))
                total += PyTorch.masked_loss(self, *tensors).item() * len(tensors[-1])
        self.model.train()
        return total / (labels != IGNORED).sum()


class Compiled(PyTorch):
    """The same with `torch.compile`, forward and backward."""

    def __init__(self, config, seed=0, threads=None):
        super().__init__(config, seed, threads)
        self.masked_loss = self.torch.compile(super().masked_loss)


class HuggingFace(PyTorch):
    """Usage of transformers' documentation: the model's own loss at all positions, plain AdamW."""

    def __init__(self, config, seed=0, threads=None):
        super().__init__(config, seed, threads)
        self.adam = self.torch.optim.AdamW(self.model.parameters())

    def step(self, ids, labels, rate=1e-4):
        """Train on a batch of masked sequences (B, T)."""
        batch = as_batch(ids, self.model.config.pad_token_id)
        batch = {name: self.torch.as_tensor(array) for name, array in batch.items()}
        loss = self.model(**batch, labels=self.torch.as_tensor(labels)).loss
        update(self.torch, self.model, self.adam, loss, rate)


def jax(config, seed=0, threads=None):
    """Return a `jax_bert.Jax`, whose module imports JAX; it chooses its threads itself."""
    if avx2.is_limited():
        raise Missing("nothing shows whether JAX is limited to AVX2")
    from benchmarks.jax_bert import Jax

    return Jax(config, seed)


SIDES: dict[str, Callable] = {
    "minibert": Minibert,
    "PyTorch": PyTorch,
    "torch.compile": Compiled,
    "Hugging Face": HuggingFace,
    "JAX": jax,
}


def masked_lm(config, seed=0):
    """Return minibert's masked LM of the family of a configuration."""
    return family_class(config.model_type, "ForMaskedLM")(config, seed=seed)


def about_numpy(threads):
    """Describe NumPy and minibert's threads (str)."""
    return f"NumPy {np.__version__}, {threads} threads with one BLAS thread each"


def use_torch(threads=None):
    """Import PyTorch and set its threads and those of `tokenizers`; None: one per core."""
    import torch

    threads = threads or usable_cores()
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return torch


def about_torch(torch):
    """Describe the versions and threads of PyTorch (str)."""
    import transformers

    return (f"PyTorch {torch.__version__}, transformers {transformers.__version__}, "
            f"{torch.get_num_threads()} threads")  # fmt: skip


def on_torch(ours):
    """Return transformers' model of the same class and weights, in training mode.

    Its attention is "sdpa", PyTorch's own, where transformers has it for the family.
    """
    import torch
    import transformers

    kind = getattr(transformers, type(ours).__name__)
    attention = "sdpa" if kind._supports_sdpa else "eager"
    fields = ours.config.to_dict()
    model = kind(transformers.AutoConfig.for_model(**fields, attn_implementation=attention))
    named = ours.file_names.outward(ours.params)
    weights = {name: torch.tensor(array) for name, array in named.items()}
    unknown = model.load_state_dict(weights, strict=False).unexpected_keys
    assert not unknown, f"weights unknown to transformers: {unknown}"
    return model.train()


def fused_adam(torch, model, decay=DECAY, betas=(0.9, 0.999), without=()):
    """Return an AdamW that decays the same parameters as minibert's, without some of them."""
    decays = {True: [], False: []}
    for name, tensor in model.named_parameters():
        if name not in without:
            decays[not name.endswith(("bias", "LayerNorm.weight"))].append(tensor)
    groups = [{"params": decays[True], "weight_decay": decay},
              {"params": decays[False], "weight_decay": 0.0}]  # fmt: skip
    return torch.optim.AdamW(groups, betas=betas, fused=True)


def update(torch, model, adam, loss, rate):
    """Run the backward pass, clip the gradient, and update."""
    for group in adam.param_groups:
        group["lr"] = rate
    adam.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    adam.step()


def random_sequences(
    config: BertConfig, batch: int, length: int, seed: int = 0
) -> Iterator[np.ndarray]:
    """Yield batches of random sequences (B, T) from [CLS] to [SEP], endlessly."""
    rng = np.random.default_rng(seed)
    while True:
        ids = rng.integers(5, config.vocab_size, (batch, length))
        ids[:, 0], ids[:, -1] = 2, 3
        yield ids
