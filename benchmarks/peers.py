"""minibert and its peers behind one face, to pre-train with: `step`, `loss` and `about`.

All begin with the same weights, those that minibert draws, under the names that they all share.
Each is fed whole rows, without padding; `loss` is without dropout, so that it shows whether the
sides compute the same. What a peer needs is imported when it is made, by nobody else's process.
"""

from collections.abc import Callable, Iterator

import numpy as np

from minibert import BertConfig, BertForMaskedLM
from minibert.data.corpus import as_batch
from minibert.functional import IGNORED
from minibert.objectives.evaluation import masked_lm_metrics
from minibert.runtime.threads import usable_cores
from minibert.training import AdamW, Engine, split_batch

CLIP, DECAY = 1.0, 0.01
ROWS = 64  # at a time when nothing is trained


class Minibert:
    """minibert as it is, a shard to a core.

    Args:
        config: a `BertConfig`.  seed: of the weights.  threads: None: one for each core.
    """

    def __init__(self, config, seed=0, threads=None):
        self.model = BertForMaskedLM(config, seed=seed)
        adam = AdamW(self.model.params, weight_decay=DECAY)
        self.engine = Engine(self.model, adam, seed=seed, clip=CLIP, threads=threads)
        self.about = f"NumPy {np.__version__}, {self.engine.threads} threads with BLAS on one each"

    def step(self, shown, labels, rate=1e-4):
        """Train on a batch of masked rows (B, T)."""
        batch = as_batch(shown, self.model.config.pad_token_id)
        self.engine.step(split_batch(batch, labels, usable_cores()), rate)

    def loss(self, shown, labels):
        """Compute the loss of masked rows, without dropout."""
        return masked_lm_metrics(self.model, shown, labels, self.model.config.pad_token_id).loss


class PyTorch:
    """transformers' BERT on PyTorch, the vocabulary at the masked places only, fused AdamW."""

    def __init__(self, config, seed=0):
        self.torch = use_torch()
        self.model = on_torch(BertForMaskedLM(config, seed=seed))
        self.adam = fused_adam(self.torch, self.model)
        self.about = about_torch(self.torch)

    def masked_loss(self, ids, places, targets):
        """Compute the cross-entropy of the targets (M,) at those places of the batch's N rows."""
        hidden = self.model.bert(ids).last_hidden_state.flatten(0, 1)[places]  # (M, D)
        return self.torch.nn.functional.cross_entropy(self.model.cls(hidden), targets)

    def tensors(self, shown, labels):
        """Return the ids (B, T), and the masked places and their labels, (M,) each."""
        places = np.flatnonzero(labels != IGNORED)
        return map(self.torch.as_tensor, (shown, places, labels.reshape(-1)[places]))

    def step(self, shown, labels, rate=1e-4):
        """Train on a batch of masked rows (B, T)."""
        update(self.torch, self.model, self.adam, self.masked_loss(*self.tensors(shown, labels)),
               rate)  # fmt: skip

    def loss(self, shown, labels):
        """Compute the loss of masked rows, without dropout."""
        self.model.eval()
        total = 0.0
        with self.torch.inference_mode():
            for start in range(0, len(shown), ROWS):
                part = slice(start, start + ROWS)
                ids, places, targets = self.tensors(shown[part], labels[part])
                total += PyTorch.masked_loss(self, ids, places, targets).item() * len(targets)
        self.model.train()
        return total / (labels != IGNORED).sum()


class Compiled(PyTorch):
    """The same under `torch.compile`, forward and backward."""

    def __init__(self, config, seed=0):
        super().__init__(config, seed)
        self.masked_loss = self.torch.compile(super().masked_loss)


class HuggingFace(PyTorch):
    """As transformers' documentation has it: the model's own loss over all places, plain AdamW."""

    def __init__(self, config, seed=0):
        super().__init__(config, seed)
        self.adam = self.torch.optim.AdamW(self.model.parameters())

    def step(self, shown, labels, rate=1e-4):
        """Train on a batch of masked rows (B, T)."""
        batch = as_batch(shown, self.model.config.pad_token_id)
        batch = {name: self.torch.as_tensor(array) for name, array in batch.items()}
        loss = self.model(**batch, labels=self.torch.as_tensor(labels)).loss
        update(self.torch, self.model, self.adam, loss, rate)


def jax(config, seed=0):
    """Make `jax_bert.Jax`, whose module imports JAX."""
    from benchmarks.jax_bert import Jax

    return Jax(config, seed)


SIDES: dict[str, Callable] = {
    "minibert": Minibert,
    "PyTorch": PyTorch,
    "torch.compile": Compiled,
    "Hugging Face": HuggingFace,
    "JAX": jax,
}


def use_torch():
    """Import PyTorch and let it use all cores."""
    import torch

    torch.set_num_threads(usable_cores())
    torch.manual_seed(0)
    return torch


def about_torch(torch):
    """Say which PyTorch this is."""
    import transformers

    return (f"PyTorch {torch.__version__}, transformers {transformers.__version__}, "
            f"{torch.get_num_threads()} threads")  # fmt: skip


def on_torch(ours):
    """Make transformers' model of the same class, sizes and weights, in training mode."""
    import torch
    import transformers

    config = transformers.BertConfig(**ours.config.to_dict(), attn_implementation="sdpa")
    model = getattr(transformers, type(ours).__name__)(config)
    weights = {name: torch.tensor(array) for name, array in ours.params.items()}
    unknown = model.load_state_dict(weights, strict=False).unexpected_keys
    assert not unknown, f"weights that transformers doesn't know: {unknown}"
    return model.train()


def fused_adam(torch, model):
    """Make the AdamW that decays what minibert's does."""
    decays = {True: [], False: []}
    for name, tensor in model.named_parameters():
        decays[not name.endswith(("bias", "LayerNorm.weight"))].append(tensor)
    groups = [{"params": decays[True], "weight_decay": DECAY},
              {"params": decays[False], "weight_decay": 0.0}]  # fmt: skip
    return torch.optim.AdamW(groups, fused=True)


def update(torch, model, adam, loss, rate):
    """Go back from the loss, clip, and update."""
    for group in adam.param_groups:
        group["lr"] = rate
    adam.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    adam.step()


def random_rows(config: BertConfig, batch: int, length: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield batches of random rows (B, T), [CLS] and [SEP] at their ends, without end."""
    rng = np.random.default_rng(seed)
    while True:
        ids = rng.integers(5, config.vocab_size, (batch, length))
        ids[:, 0], ids[:, -1] = 2, 3
        yield ids
