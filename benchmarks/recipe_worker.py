"""The jobs of `benchmarks.recipe`, each for its own process: a time, or a run and its evaluation.

A job is a generator: it yields nothing before it begins, then its result.
"""

import hashlib
import logging
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import texts
from benchmarks.harness import repeat
from benchmarks.peers import PyTorch, fused_adam, on_torch, update, use_torch
from minibert import BertForMaskedLM, WordPieceTokenizer
from minibert.data.corpus import PackedSequences, read_corpus
from minibert.data.masking import mask_sequences
from minibert.data.rng import generator
from minibert.data.sampling import batch_indices
from minibert.data.token_cache import TokenizedCorpus, files_checksum, tokenize_corpus
from minibert.objectives import MaskedLM
from minibert.objectives.evaluation import masked_lm_metrics
from minibert.optim import hidden_matrices
from minibert.tasks import SingleLabelTask
from minibert.training import evaluate, pretrain
from minibert.training.defaults import fresh_config
from minibert.training.finetuning import FineTuningRun, ModelSource
from minibert.training.initialization import initialize_from_text
from minibert.training.pretraining import step_seconds
from minibert.training.recipes import PreTraining, PretrainingRecipe

EVALUATED_LENGTH, EVALUATED_ROWS = 32, 4096
TIMED_SECONDS = 3.0  # at least, for the time of a step of a peer


@dataclass(frozen=True)
class Candidate:
    """A recipe, and the side that trains by it.

    Attributes:
        recipe: the recipe; its name is not part of what is measured.
        side: "minibert" or "PyTorch".
        config: other fields of the model's configuration.
        settings: other settings.
    """

    recipe: PretrainingRecipe
    side: str = "minibert"
    config: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Text:
    """A text to pre-train on: a folder with `train.txt` and `held_out.txt`, and its tokenizer.

    Attributes:
        folder: of the text.
        vocabulary: number of the tokenizer's pieces.
    """

    folder: Path
    vocabulary: int

    def __reduce__(self):
        """Send another process no ids; it maps the same files."""
        return type(self), (self.folder, self.vocabulary)

    @cached_property
    def tokenizer(self) -> WordPieceTokenizer:
        """The tokenizer, learned from the training text."""
        return texts.tokenizer(self.vocabulary, self.folder)

    @cached_property
    def corpus(self) -> TokenizedCorpus:
        """The ids of both parts."""
        train, held_out = (self.folder / f"{name}.txt" for name in ("train", "held_out"))
        return tokenize_corpus(
            [train], self.tokenizer, held_out=[held_out], folder=texts.FOLDER / "tokens"
        )

    @cached_property
    def names(self) -> dict[str, str]:
        """Checksums of the text and of the tokenizer."""
        digest = hashlib.blake2b(digest_size=8)
        for name in ("train", "held_out"):
            digest.update((self.folder / f"{name}.txt").read_bytes())
        return {"text": digest.hexdigest(), "tokenizer": files_checksum(self.tokenizer)}

    def rows(self, part: str, length: int) -> PackedSequences:
        """Return the full sequences of "train" or "held_out"; peers do not expect padding."""
        stream = getattr(self.corpus, part).stream
        full = (len(stream) - 1) // (length - 2) * (length - 2)
        return PackedSequences(stream[: full + 1], self.tokenizer, length)

    def masked(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids and labels (S, T) of the evaluation, equal for all candidates."""
        rows = self.rows("held_out", EVALUATED_LENGTH)
        count = min(len(rows), EVALUATED_ROWS)
        chosen = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
        return mask_sequences(chosen, self.tokenizer, generator(0, "evaluation"))

    def tokens_and_characters(self) -> tuple[int, int]:
        """Return how many ordinary tokens and characters all held-out documents have."""
        counts = self.corpus.held_out.counts
        special = sum(int(counts[each]) for each in self.tokenizer.all_special_ids)
        documents = read_corpus([self.folder / "held_out.txt"])
        characters = sum(len(paragraph) for document in documents for paragraph in document)
        return int(counts.sum()) - special, characters


def bits_per_character(loss: float, tokens: int, characters: int) -> float:
    """Return loss · tokens / characters / log 2 (float).

    It compares tokenizers as well: the mean loss of a masked token, as if it were that of every
    token of the held-out text. It is not the length of a code, because the other tokens are known.

    >>> bits_per_character(math.log(16), 10, 40)
    1.0

    Args:
        loss: of a masked token, in nats.
        tokens: number of the held-out text's tokens, without special tokens.
        characters: number of its characters, without line ends.
    """
    return loss * tokens / characters / math.log(2)


class Torch(PyTorch):
    """The peer with a recipe's optimizer, from the weights of minibert's model."""

    def __init__(self, model: BertForMaskedLM, settings: PreTraining, threads: int | None):
        self.torch = use_torch(threads)
        self.torch.manual_seed(settings.seed)  # of dropout
        self.model = on_torch(model)
        decay, betas = settings.weight_decay, (0.9, settings.beta2)
        if settings.optimizer == "adamw":
            self.adam = fused_adam(self.torch, self.model, decay, betas)
            return
        names, tensors = hidden_matrices(model.params), dict(self.model.named_parameters())
        muon = self.torch.optim.Muon([tensors[name] for name in names], weight_decay=decay,
                                     adjust_lr_fn="match_rms_adamw")  # fmt: skip
        self.adam = Both(muon, fused_adam(self.torch, self.model, decay, betas, without=names))

    def train(self, objective: MaskedLM, step: int, rate: float) -> None:
        """Train on the batch that minibert's objective makes for a step."""
        how = objective.settings
        numbers = batch_indices(step, len(objective.rows), how.batch_size, how.seed)
        batch, labels = objective.masked_batch(numbers, step)
        loss = self.masked_loss(*self.tensors(batch["input_ids"], labels))
        update(self.torch, self.model, self.adam, loss, rate)

    def copy_to(self, model: BertForMaskedLM) -> None:
        """Write the weights into minibert's model."""
        state = self.model.state_dict()
        for name, array in model.params.items():
            array[:] = state[name].numpy()


class Both:
    """Two optimizers of PyTorch as one."""

    def __init__(self, *parts):
        self.parts = parts
        self.param_groups = [group for part in parts for group in part.param_groups]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad()

    def step(self) -> None:
        """Update all parameters."""
        for part in self.parts:
            part.step()


def start(
    candidate: Candidate, size: str, text: Text, threads: int | None, steps: int, seed: int = 0
) -> tuple[BertForMaskedLM, MaskedLM, PreTraining]:
    """Return a new model with random weights, its objective and its settings."""
    recipe = candidate.recipe
    dropout = {
        "hidden_dropout_prob": recipe.dropout,
        "attention_probs_dropout_prob": recipe.dropout,
    }
    config = fresh_config(size, text.tokenizer, recipe.length, **{**dropout, **candidate.config})
    settings = recipe.settings(config, steps, seed=seed, **candidate.settings)
    model = BertForMaskedLM(config, seed=seed)
    rows = text.rows("train", recipe.length)
    return model, MaskedLM(model, text.tokenizer, rows, None, settings, threads), settings


def time_step(candidate: Candidate, size: str, text: Text, threads: int | None) -> Iterator:
    """Yield nothing, then the seconds of a step."""
    require(candidate.side)
    yield
    model, objective, settings = start(candidate, size, text, threads, steps=10**6)
    if candidate.side == "minibert":
        yield step_seconds(model, objective, settings, threads)
    peer = Torch(model, settings, threads)
    for step in range(3):  # a warm-up
        peer.train(objective, step, 0.0)
    count, spent = repeat(lambda: peer.train(objective, 3, 0.0), TIMED_SECONDS)
    yield spent / count


def time_initialization(
    candidate: Candidate, size: str, text: Text, threads: int | None
) -> Iterator:
    """Yield nothing, then the seconds in which the weights are initialized from the text."""
    yield
    model, *_ = start(candidate, size, text, threads, steps=1)
    begin = time.perf_counter()
    initialize_from_text(model, text.corpus.train.stream, text.tokenizer)
    yield time.perf_counter() - begin


def run(candidate: Candidate, size: str, text: Text, threads: int | None, steps: int, seed: int,
        labelled: int) -> Iterator:  # fmt: skip
    """Train and evaluate: yield nothing, then the figures (dict).

    Args:
        candidate (Candidate): the recipe and the side.
        size (str): a preset.
        text (Text): the text.
        threads (int): None: one per core.
        steps (int): number of updates.
        seed (int): of the weights, the order and the masks.
        labelled (int): number of texts to fine-tune the classifier on.
    """
    require(candidate.side)
    yield
    logging.getLogger("minibert").setLevel(logging.ERROR)  # it logs that the classifier is new
    model, objective, settings = start(candidate, size, text, threads, steps, seed)
    begin = time.perf_counter()
    if settings.initialization == "text":
        initialize_from_text(model, text.corpus.train.stream, text.tokenizer, seed)
    try:
        if candidate.side == "minibert":
            pretrain(model, objective, settings, text.tokenizer, threads=threads)
        else:
            peer = Torch(model, settings, threads)
            for step in range(steps):
                peer.train(objective, step, settings.rate(step))
            peer.copy_to(model)
            if not np.isfinite(model.params.vector).all():
                raise FloatingPointError
    except FloatingPointError:  # a result too: this recipe diverges
        yield {"loss": math.inf, "accuracy": 0.0, "bits": math.inf, "classifier": 0.0,
               "seconds": time.perf_counter() - begin}  # fmt: skip
        return
    spent = time.perf_counter() - begin
    pad = text.tokenizer.pad_token_id
    metrics = masked_lm_metrics(model, *text.masked(), pad, threads=threads)
    yield {
        "loss": metrics.loss,
        "accuracy": metrics.accuracy,
        "bits": bits_per_character(metrics.loss, *text.tokens_and_characters()),
        "classifier": classifier_accuracy(model, text, labelled, seed, threads),
        "seconds": spent,
    }


def require(side: str) -> None:
    """Raise ImportError if a side's packages are not installed."""
    if side == "PyTorch":
        import torch  # noqa: F401
        import transformers  # noqa: F401


def classifier_accuracy(
    model: BertForMaskedLM, text: Text, labelled: int, seed: int, threads: int | None
) -> float:
    """Fine-tune a classifier with default options; return its accuracy on test texts (float)."""
    train, test = (texts.labelled(split, text.folder) for split in ("train", "test"))
    # Evenly spaced, because they are sorted by label.
    train = train.select(np.linspace(0, len(train) - 1, min(labelled, len(train))).astype(int))
    task = SingleLabelTask.from_labels(test.labels)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        text.tokenizer.save_pretrained(folder)
        tuned = FineTuningRun.start(task, train, ModelSource(folder), seed=seed)
    tuned.train(threads=threads)
    return evaluate(tuned.model, tuned.tokenizer, task, test).figures()["accuracy"]
