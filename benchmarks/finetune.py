"""How fast is a real checkpoint fine-tuned, compared with PyTorch, and how accurate is it?

A checkpoint with 6 layers of hidden size 384 (all-MiniLM-L6-v2) is fine-tuned for one epoch,
tokenization included, with the same learning rate, AdamW, clipping, dropout and batch size on all
sides. Short texts are the first words of the sentences in `corpora/situations`, six classes; long
texts document a module, which is to be predicted. minibert buckets texts by length, as `fine_tune`
does. PyTorch, with transformers' model and tokenizer, shuffles the texts and pads each batch to its
longest text, as transformers' Trainer does by default; "PyTorch, sorted" uses minibert's batches. A
round is one epoch from the checkpoint. Its seed, which decides the new classifier's weights and the
order of the texts, is the same on all sides. `--avx2` keeps all sides from using AVX-512.

    pip install torch==2.13.0 && pip install '.[parity]'
    python -m benchmarks.finetune --batch 16
    python -m benchmarks.finetune --long
    python -m benchmarks.finetune --fit --rate 2e-4
"""

import logging
import time
from collections.abc import Iterator
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.harness import (
    alternate,
    elapsed,
    options,
    parse,
    ratios,
    report,
    spread,
    table,
    workers,
)
from benchmarks.peers import about_numpy, about_torch, fused_adam, on_torch, update, use_torch
from benchmarks.texts import labelled, minilm
from minibert import BertForSequenceClassification, TextClassifier, WordPieceTokenizer
from minibert.data.sampling import batch_indices, length_bucketed_batch, steps_per_epoch
from minibert.data.tables import read_records
from minibert.runtime.threads import usable_cores
from minibert.tasks import Examples, SingleLabelTask
from minibert.training import FineTuning, evaluate, fine_tune
from minibert.training.defaults import default_shards
from minibert.training.finetuning import mean_tokens

LONGEST = 512
WORDS = range(5, 15)  # of a short text: about as many as a question has, 13 tokens in the mean
SITUATIONS = Path(__file__).parents[1] / "corpora" / "situations"
HEADS = ("side", "texts/s", "minibert / side", "accuracy")


def main() -> None:
    """Fine-tune on all sides alternately and print the table."""
    parser = options(__doc__, can_limit=True)
    parser.add_argument(
        "--texts", type=int, help="number of training texts (default: all; --quick: 64)"
    )
    parser.add_argument(
        "--rate", type=float, default=1e-4, help="largest learning rate (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=32, help="texts in a step (%(default)s)")
    parser.add_argument(
        "--fit", action="store_true", help="TextClassifier.fit against three epochs"
    )
    parser.add_argument("--long", action="store_true", help="long texts")
    parser.add_argument("--dropout", type=float, default=0.1, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of every side (default: one per core)")
    o = parse(parser)
    few = 64 if o.quick else None
    threads = o.threads or usable_cores()
    work = Work(o.long, o.texts or few, few, o.batch, o.rate, o.dropout, threads, o.fit)
    jobs = {
        "minibert": (ours, work),
        "PyTorch": (theirs, work),
    }
    if not work.fit:
        jobs["PyTorch, sorted"] = (theirs, work, True)
    with workers(jobs) as (running, missing):
        found = alternate(o, running)
        about = {side: worker.ready for side, worker in running.items()} | missing
    speeds = {side: [speed for speed, _ in rounds] for side, rounds in found.items()}
    rows = [
        (
            side,
            spread(speeds[side], ".1f"),
            "" if side == "minibert" else spread(ratios(speeds["minibert"], speeds[side])),
            spread([accuracy for _, accuracy in rounds], ".1%"),
        )
        for side, rounds in found.items()
    ]
    report(
        o,
        f"Fine-tuning a real checkpoint, {'long' if o.long else 'short'} texts",
        table(HEADS, rows),
        describe(work),
        table(("side", ""), about.items()),
    )


class Work(NamedTuple):
    """What all sides do.

    Attributes:
        long (bool): long texts instead of short ones.
        texts (int): number of training texts; None: all.
        tests (int): number of test texts; None: all.
        batch (int): texts in a step.
        rate (float): largest learning rate.
        dropout (float): dropout rate of training.
        threads (int): threads of every side.
        fit (bool): minibert is `TextClassifier.fit` with its defaults, PyTorch a loop of three
            epochs.
    """

    long: bool
    texts: int | None
    tests: int | None
    batch: int
    rate: float
    dropout: float
    threads: int
    fit: bool = False

    def examples(self) -> tuple[Examples, Examples]:
        """Return training examples in random order, and test examples."""
        texts = labelled if self.long or self.fit else short
        train, test = texts("train"), texts("test")
        if self.fit:  # more texts than `short` has
            train, test = beginnings(train), beginnings(test)
        order = np.random.default_rng(0).permutation(len(train))  # a file may be sorted by label
        return first(train.select(order), self.texts), first(test, self.tests)

    def settings(self, examples: Examples, tokens: float, seed: int) -> FineTuning:
        """Return the settings of one epoch over examples of some mean number of tokens."""
        return FineTuning(
            steps=steps_per_epoch(len(examples), self.batch) * (3 if self.fit else 1),
            batch_size=self.batch,
            learning_rate=self.rate,
            seed=seed,
            shards=default_shards(self.batch, tokens),
        )

    def model(self, task: SingleLabelTask, seed: int) -> BertForSequenceClassification:
        """Return the checkpoint with a new classifier."""
        logging.getLogger("minibert").setLevel(logging.ERROR)  # it logs that the classifier is new
        rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), self.dropout)
        return BertForSequenceClassification.from_pretrained(
            minilm(), seed=seed, **rates, **task.config()
        )


def describe(work: Work) -> str:
    """Return a description of the texts (str)."""
    train, test = work.examples()
    tokenizer = WordPieceTokenizer.from_pretrained(minilm())
    tokens = [len(tokenizer.encode(text, max_length=LONGEST).input_ids) for text in train.texts]
    return (
        f"{len(train):,} training texts, {len(test):,} test texts, {len(set(train.labels))} "
        f"classes; {np.mean(tokens):.0f} tokens per text, from {min(tokens)} to {max(tokens)}; "
        f"batches of {work.batch}{' (PyTorch), three epochs' if work.fit else ', one epoch'}, "
        f"warm-up to a learning rate of {work.rate:g} and linear decay, dropout {work.dropout:g}."
    )


def ours(work: Work) -> Iterator:
    """minibert: yield a description, then texts/s and the accuracy of each round."""
    train, test = work.examples()
    task = SingleLabelTask.from_labels(train.labels)
    tokenizer = WordPieceTokenizer.from_pretrained(minilm())

    def epoch(examples, seed):
        model = work.model(task, seed)
        start = time.perf_counter()
        tokens = mean_tokens(task, examples, tokenizer, model)
        settings = work.settings(examples, tokens, seed)
        fine_tune(model, tokenizer, task, examples, settings, threads=work.threads)
        return model, len(examples) / (time.perf_counter() - start)

    epoch(first(train, 2 * work.batch), 0)  # warm-up
    yield about_numpy(work.threads)
    for seed in count():
        if work.fit:
            classifier = TextClassifier("minilm", random_state=seed, threads=work.threads)
            seconds = elapsed(partial(classifier.fit, train.texts, train.labels))
            yield len(train) / seconds, classifier.score(test.texts, test.labels)
        else:
            model, speed = epoch(train, seed)
            yield speed, evaluate(model, tokenizer, task, test).figures()["accuracy"]


def theirs(work: Work, by_length: bool = False) -> Iterator:
    """PyTorch: yield a description, then texts/s and the accuracy of each round."""
    torch = use_torch(work.threads)
    from transformers import AutoTokenizer

    (train, test), B = work.examples(), work.batch
    task = SingleLabelTask.from_labels(train.labels)
    tokenizer = AutoTokenizer.from_pretrained(minilm())

    def encoded(texts):
        return tokenizer(
            texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        )

    def epoch(examples, seed):
        torch.manual_seed(seed)
        model, how = on_torch(work.model(task, seed)), work.settings(examples, 0, seed)
        labels = torch.as_tensor([task.encode_label(label) for label in examples.labels])
        start = time.perf_counter()
        adam = fused_adam(torch, model)
        if by_length:
            lengths = np.array([len(ids) for ids in tokenizer(examples.texts)["input_ids"]])
        for step in range(how.steps):
            rows = batch_indices(step, len(examples), B, seed)
            if by_length:
                rows = length_bucketed_batch(step, lengths, B, seed)
            batch = encoded([examples.texts[i] for i in rows])
            update(torch, model, adam, model(**batch, labels=labels[rows]).loss, how.rate(step))
        return model, len(examples) / (time.perf_counter() - start)

    def accuracy(model):
        correct = 0
        with torch.inference_mode():
            for start in range(0, len(test), B):
                part = slice(start, start + B)
                predicted = model.eval()(**encoded(test.texts[part])).logits.argmax(-1).numpy()
                actual = [task.encode_label(label) for label in test.labels[part]]
                correct += (predicted == actual).sum()
        return correct / len(test)

    expected = WordPieceTokenizer.from_pretrained(minilm()).encode_batch(train.texts[:B])
    assert (encoded(train.texts[:B])["input_ids"].numpy() == expected["input_ids"]).all()
    epoch(first(train, 2 * work.batch), 0)  # warm-up
    yield about_torch(torch)
    for seed in count():
        model, speed = epoch(train, seed)
        yield speed, accuracy(model)


def short(split: str) -> Examples:
    """Return the first words of one split of `corpora/situations` (Examples)."""
    rows = read_records(SITUATIONS / f"{split}.tsv", labelled=True)
    return beginnings(Examples([row.text for row in rows], None, [row.label for row in rows]))


def beginnings(examples: Examples) -> Examples:
    """Return examples with the first words of each text only (Examples)."""
    lengths = cycle(WORDS)
    texts = [" ".join(text.split()[: next(lengths)]) for text in examples.texts]
    return Examples(texts, None, examples.labels)


def first(examples: Examples, count: int | None) -> Examples:
    """Return the first examples, all if `count` is None."""
    return examples.select(range(len(examples))[:count])


if __name__ == "__main__":
    main()
