"""What the sub-commands about labels share: labelled texts from files, and scores on a screen."""

from collections.abc import Sequence
from heapq import nlargest

from minibert.cli.shared import interactive
from minibert.data.conll import CONLL
from minibert.data.tables import Row, read_rows
from minibert.tasks.tasks import LARGEST
from minibert.training import Examples, Numbers, OneLabel, SeveralLabels, Tags

MISTAKES = 5  # to show


def read_examples(task, path, *columns):
    """Read labelled texts for a task that is known."""
    require_kind(type(task), path)
    rows = read_rows(path, *columns, labelled=True)
    labels = [label_of(type(task), row, path, task) for row in rows]
    return Examples([row.text for row in rows], pairs_of(rows), labels)


def require_kind(kind, path):
    """Raise ValueError unless the file has what a kind of task labels: texts, or words."""
    if (kind is Tags) != (path.suffix.lower() in CONLL):
        raise ValueError(
            f"{path}: words are tagged in files that end in {', '.join(CONLL)}, texts labelled in "
            f"others, and this model is for {'words' if kind is Tags else 'texts'}"
        )


def label_of(kind, row, path, task=None):
    """Return a row's label as its task takes it; refuse one that the task doesn't know."""
    label = row.label
    try:
        if kind is Numbers:
            label = float(label)
            if not abs(label) <= LARGEST:
                raise ValueError(
                    f"expected a finite number as label, at most {LARGEST:.1e}, got {row.label!r}"
                )
        elif kind is SeveralLabels and isinstance(label, str):
            label = [name.strip() for name in label.split(",") if name.strip()]
        elif kind is OneLabel and isinstance(label, list):
            raise ValueError(f"expected one label, got {len(label)}; see --task multi-label")
        if task is not None:
            task.number(label)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}, line {row.line}: {error}") from None
    return label


def pairs_of(rows: Sequence[Row]) -> list[str] | None:
    """Return the second texts, or None if there are none."""
    return [row.pair or "" for row in rows] if rows and rows[0].pair is not None else None


def measured(task, model, tokenizer, examples, threads=None):
    """Print table, scores, yardstick and the surest mistakes; returns the scores."""
    outputs = task.predict(
        model, tokenizer, examples.texts, examples.pairs, threads=threads, progress=interactive()
    )
    scores = task.scores(examples.labels, outputs)
    print(scores.table())
    print(f"{scores}; {scores.yardstick()}")
    wrong = nlargest(
        MISTAKES,
        task.mistakes(examples.texts, examples.labels, outputs),
        key=lambda mistake: mistake[0],
    )
    if wrong:
        print("the worst mistakes:" if isinstance(task, Numbers) else "the surest mistakes:")
    for sure, true, said, text in wrong:
        print(f"  {sure:.2f}  {said}, but it is {true}:  {' '.join(text.split()):.100}")
    return scores


def report_cuts(task, model, tokenizer, examples):
    """Say how many texts are too long for the model; where words are tagged, none is."""
    if not isinstance(task, Tags):
        longest = model.config.max_position_embeddings
        cut = tokenizer.count_truncated(examples.texts, examples.pairs, max_length=longest)
        report_cut(cut, len(examples), longest)


def report_cut(cut, total, longest, file=None):
    """Say how many texts are longer than so many tokens, if any are."""
    if cut:
        message = f"{cut:,} of {total:,} texts are longer than {longest} tokens and are cut"
        print(message, file=file)
