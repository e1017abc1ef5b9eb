"""The whole road in one command: from the installed documentation to a fine-tuned classifier."""

from pathlib import Path

from minibert.cli.shared import interactive
from minibert.data.builtin.corpus import write_builtin
from minibert.data.corpus import pack
from minibert.data.masking import masked
from minibert.data.sampling import generator, steps_per_epoch
from minibert.data.tables import read_rows
from minibert.files import claim
from minibert.inspection import inspect_text, write_page
from minibert.inspection.curves import curves, smoothed
from minibert.models import BertForMaskedLM, BertForSequenceClassification
from minibert.models.config import BertConfig
from minibert.objectives.evaluation import count_tokens
from minibert.tokenization import WordPieceTokenizer
from minibert.training import (
    Examples,
    FineTuning,
    OneLabel,
    Settings,
    evaluate,
    fine_tune,
    train_masked_lm,
    unigram_score,
)
from minibert.training.history import read_history
from minibert.training.pretraining import guess

SENTENCES = (
    "return a copy of the [MASK] with all characters converted to lower case.",
    "raises an [MASK] if the file does not exist.",
    "the shape of the [MASK] must be a tuple of integers.",
    "if [MASK] is true, the result is returned as a list.",
)
VOCABULARY, LENGTH = 4096, 32
STEPS, BATCH, SHARDS, RATE = 2400, 64, 2, 2e-3
TEXTS, EPOCHS, TEXT_RATE, DROPOUT = 600, 12, 5e-4, 0.1


def run(out: Path | None = None, *, steps: int | None = None) -> None:
    """Walk the road, printing each station.

    Args:
        out: a new folder; None: the first of `minibert-demo-1`, `-2`, ... that is not there.
        steps: of the pre-training; None: 2,400.

    Raises:
        FileExistsError: the folder is there.
        ValueError: no steps are asked for.
    """
    steps = STEPS if steps is None else steps
    settings = Settings(steps=steps, batch_size=BATCH, shards=SHARDS, learning_rate=RATE)
    out = out or _fresh()
    claim(out)
    progress = interactive()

    print("1. The corpus: documentation that is installed with Python and NumPy", flush=True)
    corpus, _ = write_builtin(out / "corpus", progress=progress)
    paragraphs = [text for document in corpus.train for text in document]
    characters = sum(map(len, paragraphs))
    print(f"   {len(corpus.train):,} documents, {characters / 1e6:.1f} M characters; "
          f"{len(corpus.held_out):,} documents held out")  # fmt: skip

    print("2. The tokenizer: a WordPiece vocabulary, learned from it", flush=True)
    tokenizer = WordPieceTokenizer.train(paragraphs, VOCABULARY, progress=progress)
    rows, held_out = (pack(side, tokenizer, LENGTH) for side in (corpus.train, corpus.held_out))
    print(f"   {tokenizer.vocab_size:,} pieces; the corpus is {rows.size:,} tokens long")

    print("3. Pre-training: BERT-tiny guesses masked tokens", flush=True)
    config = BertConfig.preset(
        "tiny",
        vocab_size=tokenizer.vocab_size,
        max_position_embeddings=LENGTH,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.06,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertForMaskedLM(config)
    before = [guess(model, tokenizer, text, 5)[0] for text in SENTENCES]
    result = train_masked_lm(
        model, tokenizer, rows, held_out, settings, run=out / "model", progress=progress
    )
    _, labels = masked(held_out, tokenizer, generator(settings.seed, "evaluation"))
    print(f"   held out:               {result}")
    counts = count_tokens(rows, tokenizer)
    print(f"   knowing only counts:    {unigram_score(counts, labels, tokenizer)}")
    tokenizer.save_pretrained(out / "model")
    model.save_pretrained(out / "model")
    for text, untrained in zip(SENTENCES, before, strict=True):
        print(f"   {text}")
        print(f"     before: {_list(untrained)}")
        print(f"     after:  {_list(guess(model, tokenizer, text, 5)[0])}")

    print("4. Fine-tuning: which module does a text document? Few labels are enough", flush=True)
    labelled = out / "corpus" / "labelled"
    train_rows = read_rows(labelled / "train.tsv", labelled=True)
    task = OneLabel.learn([row.label for row in train_rows])
    chosen = generator(settings.seed, "order").permutation(len(train_rows))[:TEXTS]
    test_rows = read_rows(labelled / "test.tsv", labelled=True)
    train, test = (
        Examples([row.text for row in rows], None, [row.label for row in rows])
        for rows in ([train_rows[i] for i in chosen], test_rows)
    )
    schedule = FineTuning(
        steps=EPOCHS * steps_per_epoch(len(train), BATCH),
        batch_size=BATCH,
        shards=SHARDS,
        learning_rate=TEXT_RATE,
    )
    pretrained = BertForSequenceClassification.from_pretrained(
        out / "model", hidden_dropout_prob=DROPOUT, **task.config()
    )
    from_nothing = BertForSequenceClassification(pretrained.config)
    scores = {}
    for title, classifier in (("pre-trained", pretrained), ("from nothing", from_nothing)):
        fine_tune(
            classifier, tokenizer, task, train, schedule, run=out / "fine-tuning" / title,
            title=title, progress=progress,
        )  # fmt: skip
        scores[title] = evaluate(classifier, tokenizer, task, test)
    tokenizer.save_pretrained(out / "classifier")
    pretrained.save_pretrained(out / "classifier")
    best, nothing = (scores[title].figures() for title in ("pre-trained", "from nothing"))
    print(f"   {len(train):,} texts to train on, {len(test):,} to test, {len(task.names)} classes")
    print(f"   accuracy, pre-trained:  {best['accuracy']:.1%} (macro-F1 {best['macro_f1']:.1%})")
    print(f"   accuracy, from nothing: {nothing['accuracy']:.1%}")
    print(f"   {scores['pre-trained'].yardstick()}")

    _report(out, model, pretrained, tokenizer, test_rows[0].text)
    print("5. What it looks like inside: curves, attention, gradients, in one page")
    print(f"   {out}/report.html")

    print(f"\nAll of it is in {out}. To play with it:")
    print(f"   minibert fill-mask {out}/model 'the default [MASK] is used.'")
    print(f"   minibert predict {out}/classifier 'send a message to the mail server'")
    print(f"   minibert evaluate {out}/classifier {out}/corpus/labelled/test.tsv")


def _report(out, model, classifier, tokenizer, text):
    """Write the page that shows the runs' curves and two texts' ways through the models."""

    def line(run, name):
        return [(row["step"], row[name]) for row in read_history(run) if name in row]

    run = out / "model"
    pictures = [
        curves(
            "Pre-training",
            {
                "training loss": smoothed(line(run, "loss")),
                "held-out loss": line(run, "held_out_loss"),
                "knowing only counts": line(run, "yardstick_loss"),
            },
            "nats",
        ),
        curves(
            "Fine-tuning",
            {
                title: smoothed(line(out / "fine-tuning" / title, "loss"), 0.9)
                for title in ("pre-trained", "from nothing")
            },
            "training loss in nats",
        ),
    ]
    inspections = [
        inspect_text(classifier, tokenizer, text, backward=True),
        inspect_text(model, tokenizer, SENTENCES[0], backward=True),
    ]
    write_page(out / "report.html", "A BERT of one's own", inspections, pictures)


def _fresh() -> Path:
    number = 1
    while Path(f"minibert-demo-{number}").exists():
        number += 1
    return Path(f"minibert-demo-{number}")


def _list(guesses):
    return ", ".join(f"{piece} {share:.0%}" for piece, share in guesses)
