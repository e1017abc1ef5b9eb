"""`minibert demo`: the whole pipeline, from installed documentation to a fine-tuned classifier."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from minibert.cli.output import is_interactive
from minibert.data.builtin.corpus import Corpus, write_builtin
from minibert.data.corpus import pack
from minibert.data.rng import generator
from minibert.data.tables import read_records
from minibert.inspection import inspect_text, write_page
from minibert.inspection.curves import curves, smoothed
from minibert.io.atomic import settled
from minibert.io.locks import ensure_writable
from minibert.models import BertForMaskedLM, BertForSequenceClassification
from minibert.models.config import BertConfig
from minibert.objectives import MaskedLM
from minibert.tasks import Examples, SingleLabelTask
from minibert.tokenization import PreTrainedTokenizer, WordPieceTokenizer
from minibert.training import evaluate, pretrain
from minibert.training.card import Card, write_card
from minibert.training.checkpoint import finish_run
from minibert.training.defaults import fresh_config
from minibert.training.finetuning import FineTuningRun, ModelSource
from minibert.training.history import read_history
from minibert.training.initialization import initialize_from_text
from minibert.training.pretraining import guess
from minibert.training.recipes import DEFAULT_RECIPE, RECIPES, PreTraining

SENTENCES = (
    "return a copy of the [MASK] with all characters converted to lower case.",
    "raises an [MASK] if the file does not exist.",
    "the shape of the [MASK] must be a tuple of integers.",
    "if [MASK] is true, the result is returned as a list.",
)
VOCABULARY, LENGTH = 4096, 32  # tokens in the vocabulary; tokens per sequence
STEPS = 1000  # of pre-training
BATCH, SHARDS = 64, 2  # of pre-training
TEXTS = 600  # of fine-tuning
STARTS = ("pre-trained", "from scratch", "from counts")  # of the three classifiers
DOCUMENTATION = "the documentation installed with Python and NumPy"  # in the model cards

DESCRIPTION = """
Learns a vocabulary, pre-trains a tiny BERT, shows its predictions for masked words before and after
the training, fine-tunes a classifier with and without pre-training, and prints the name of the
folder that contains the results.
"""
EXAMPLE = "minibert demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert demo`."""
    parser.add_argument(
        "--out",
        type=settled,
        help="new folder for the results (default: minibert-demo-N, with the first free number)",
    )
    parser.add_argument(
        "--steps", type=int, help=f"number of pre-training updates (default: {STEPS})"
    )


def run(options: argparse.Namespace) -> None:
    """Run all stages of the pipeline and print the results of each.

    Raises:
        FileExistsError: the folder exists.
        ValueError: the number of steps is below 1.
    """
    steps = STEPS if options.steps is None else options.steps
    settings = RECIPES[DEFAULT_RECIPE].settings(
        BertConfig.preset("tiny"), steps, batch_size=BATCH, shards=SHARDS
    )
    out = options.out or _new_folder()
    ensure_writable(out)
    corpus = _write_corpus(out)
    tokenizer, rows, held_out = _learn_tokenizer(corpus)
    model = _pretrain(out, tokenizer, rows, held_out, settings)
    classifier, text = _finetune(out, settings.seed)
    print("5. Inside the models: curves, attention and gradients, on one page")
    _write_report(out, model, classifier, text)
    print(f"   {out}/report.html")
    print(f"\nThe results are in {out}. Commands to try:")
    print(f"   minibert fill-mask {out}/model 'the default [MASK] is used.'")
    print(f"   minibert predict {out}/classifier 'send a message to the mail server'")
    print(f"   minibert evaluate {out}/classifier {out}/corpus/labelled/test.tsv")


def _write_corpus(out: Path) -> Corpus:
    print("1. The corpus: documentation installed with Python and NumPy", flush=True)
    corpus, _ = write_builtin(out / "corpus", progress=is_interactive())
    characters = sum(map(len, _paragraphs(corpus)))
    print(
        f"   {len(corpus.train):,} documents, {characters / 1e6:.1f} M characters; "
        f"{len(corpus.held_out):,} documents held out"
    )
    return corpus


def _paragraphs(corpus: Corpus) -> list[str]:
    return [paragraph for document in corpus.train for paragraph in document]


def _learn_tokenizer(corpus: Corpus) -> tuple[PreTrainedTokenizer, np.ndarray, np.ndarray]:
    """Return a tokenizer, the training sequences (S, T) and the held-out sequences (S, T)."""
    print("2. The tokenizer: a WordPiece vocabulary, learned from the corpus", flush=True)
    tokenizer = WordPieceTokenizer.train(_paragraphs(corpus), VOCABULARY, progress=is_interactive())
    rows, held_out = (
        pack(documents, tokenizer, LENGTH) for documents in (corpus.train, corpus.held_out)
    )
    print(f"   {tokenizer.vocab_size:,} pieces; the corpus contains {rows.size:,} tokens")
    return tokenizer, rows, held_out


def _pretrain(
    out: Path,
    tokenizer: PreTrainedTokenizer,
    rows: np.ndarray,
    held_out: np.ndarray,
    settings: PreTraining,
) -> BertForMaskedLM:
    """Pre-train a model, print its predictions before and after, and save it."""
    print("3. Pre-training: BERT-tiny predicts masked tokens", flush=True)
    config = fresh_config(
        "tiny", tokenizer, LENGTH, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    model = BertForMaskedLM(config)
    initialize_from_text(model, rows[:, 1:-1].reshape(-1), tokenizer)  # (S, T - 2) -> (N,)
    before = [guess(model, tokenizer, text, 5)[0] for text in SENTENCES]
    objective = MaskedLM(model, tokenizer, rows, held_out, settings)
    pretrain(model, objective, settings, tokenizer, run=out / "model", progress=is_interactive())
    print(f"   held out:               {objective.result()}")
    print(f"   unigram baseline:       {objective.baseline}")
    tokenizer.save_pretrained(out / "model")
    model.save_pretrained(out / "model")
    data = {
        "training text": f"{DOCUMENTATION}: {rows.size:,} tokens",
        "held-out text": f"other documents: {held_out.size:,} tokens",
    }
    card = Card.of_pretraining(model, settings, data, objective)
    write_card(out / "model", card.text("model"))
    finish_run(out / "model")
    for text, untrained in zip(SENTENCES, before, strict=True):
        print(f"   {text}")
        print(f"     before: {_format_predictions(untrained)}")
        print(f"     after:  {_format_predictions(guess(model, tokenizer, text, 5)[0])}")
    return model


def _format_predictions(candidates: list[tuple[str, float]]) -> str:
    return ", ".join(f"{token} {prob:.0%}" for token, prob in candidates)


def _finetune(out: Path, seed: int) -> tuple[FineTuningRun, str]:
    """Fine-tune three classifiers, print their metrics, and save the pre-trained one.

    The first has the defaults of `minibert finetune --model`, the second differs from it by its
    random weights alone, and the third has the defaults of `minibert finetune` without `--model`.

    Returns:
        the pre-trained classifier's run and the first test text.
    """
    print("4. Fine-tuning: which module does a text document?", flush=True)
    task, train, test = _read_labelled(out / "corpus" / "labelled", seed)
    pretrained = FineTuningRun.start(task, train, ModelSource(out / "model"), seed=seed)
    untrained = BertForSequenceClassification(pretrained.model.config, seed=seed)
    counted = FineTuningRun.start(task, train, ModelSource(), seed=seed)
    runs = (pretrained, replace(pretrained, model=untrained), counted)
    scores = {}
    for title, run in zip(STARTS, runs, strict=True):
        run.train(run=out / "fine-tuning" / title, title=title, progress=is_interactive())
        scores[title] = evaluate(run.model, run.tokenizer, task, test)
    metrics = scores["pre-trained"]
    others = {title: scores[title] for title in STARTS[1:]}
    pretrained.tokenizer.save_pretrained(out / "classifier")
    pretrained.model.save_pretrained(out / "classifier")
    data = {
        "training texts": f"{DOCUMENTATION}: {len(train):,} texts, labelled with their module",
        "held-out texts": f"other documents: {len(test):,} texts",
    }
    card = Card.of_finetuning(pretrained, data, start="model", metrics=metrics, others=others)
    write_card(out / "classifier", card.text("classifier"))
    for title in STARTS:
        finish_run(out / "fine-tuning" / title)
    print(f"   {len(train):,} texts to train on, {len(test):,} to test, {len(task.names)} classes")
    for title in STARTS:
        print(f"   {title + ':':23} {scores[title]}")
    print(f"   {metrics.trivial_baseline()}")
    return pretrained, test.texts[0]


def _read_labelled(folder: Path, seed: int) -> tuple[SingleLabelTask, Examples, Examples]:
    """Return the task, a random part of the training texts, and the test texts."""
    train, test = (
        Examples([row.text for row in rows], None, [row.label for row in rows])
        for rows in (
            read_records(folder / "train.tsv", labelled=True),
            read_records(folder / "test.tsv", labelled=True),
        )
    )
    task = SingleLabelTask.from_labels(train.labels)
    chosen = generator(seed, "order").permutation(len(train))[:TEXTS]
    return task, train.select(chosen), test


def _write_report(
    out: Path,
    model: BertForMaskedLM,
    classifier: FineTuningRun,
    text: str,
) -> None:
    """Write a page with the runs' curves and the activations of two texts."""

    def points(run: Path, name: str) -> list[tuple[int, float]]:
        return [(row["step"], row[name]) for row in read_history(run) if name in row]

    pictures = [
        curves(
            "Pre-training",
            {
                "training loss": smoothed(points(out / "model", "loss")),
                "held-out loss": points(out / "model", "held_out_loss"),
                "unigram baseline": points(out / "model", "yardstick_loss"),
            },
            "nats",
        ),
        curves(
            "Fine-tuning",
            {title: smoothed(points(out / "fine-tuning" / title, "loss"), 0.9) for title in STARTS},
            "training loss in nats",
        ),
    ]
    inspections = [
        inspect_text(classifier.model, classifier.tokenizer, text, backward=True),
        inspect_text(model, classifier.tokenizer, SENTENCES[0], backward=True),
    ]
    write_page(out / "report.html", "A small BERT", inspections, pictures)


def _new_folder() -> Path:
    """Return the first folder minibert-demo-1, -2, ... that does not exist (Path)."""
    number = 1
    while Path(f"minibert-demo-{number}").exists():
        number += 1
    return Path(f"minibert-demo-{number}")
