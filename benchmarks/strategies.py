"""How accurate are the strategies for few labels, and SetFit, and how long do they train?

    python -m benchmarks.strategies

On 16, 50 and 300 labelled texts of `corpora/situations` and of `corpora/questions`, balanced over
the classes and another sample for each seed, from MiniLM's checkpoint: `TextClassifier` with its
own choice, with pairs and with fine-tuning; logistic regression on the vectors as they are, and on
TF-IDF; and SetFit with `num_iterations=20`. Without the package `setfit` its recipe is trained with
sentence-transformers: 40 pairs for each text, the squared error of their cosines, one epoch of
batches of 16 pairs at 2e-5, and logistic regression. Accuracies are measured on test.tsv, which was
used for no choice. Times are CPU seconds of all threads of the training alone, because these depend
little on what else the machine does.
"""

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.harness import alternate, options, parse, report, spread, table, workers
from benchmarks.peers import about_numpy, about_torch, use_torch
from benchmarks.texts import minilm
from minibert import FeatureExtractor, TextClassifier
from minibert.data.tables import read_records
from minibert.runtime.threads import usable_cores
from minibert.tasks.baselines import tfidf_logistic_regression
from minibert.tasks.examples import Examples
from minibert.tasks.logistic import logistic_regression

MODEL = "minilm"
CORPORA = Path(__file__).parents[1] / "corpora"
SETS = ("situations", "questions")
SIZES = (16, 50, 300)
ITERATIONS = 20  # of SetFit: pairs of each kind for each text
Found = dict[tuple[str, int], tuple[float, float]]  # (set, size) -> accuracy, CPU seconds


def main() -> None:
    """Train all sides alternately and print a table for each set."""
    parser = options(__doc__)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--sizes", nargs="+", default=SIZES, type=int)
    parser.add_argument("--sides", nargs="+", help="only these")
    o = parse(parser, rounds=3)
    sizes = [12] if o.quick else o.sizes
    jobs = {
        "auto": (ours, "auto", o.sets, sizes, o.quick),
        "pairs": (ours, "pairs", o.sets, sizes, o.quick),
        "direct": (ours, "direct", o.sets, sizes, o.quick),
        "SetFit": (setfit, o.sets, sizes, 1 if o.quick else ITERATIONS),
        "vectors": (frozen, o.sets, sizes),
        "TF-IDF": (tfidf, o.sets, sizes),
    }
    jobs = {side: job for side, job in jobs.items() if not o.sides or side in o.sides}
    with workers(jobs) as (running, missing):
        found = alternate(o, running)
        about = {side: worker.ready for side, worker in running.items()} | missing
    parts = []
    for name in o.sets:
        for what, place, form in (("accuracy", 0, ".1%"), ("CPU seconds", 1, ".0f")):
            rows = [
                [size, *(spread([each[name, size][place] for each in found[side]], form)
                         for side in found)]
                for size in sizes
            ]  # fmt: skip
            parts.append(f"## {name}: {what}\n\n" + table(("texts", *found), rows))
    report(o, "Strategies for few labels", *parts, table(("side", ""), about.items()))


def sample(name: str, size: int, seed: int) -> tuple[Examples, Examples]:
    """Return labelled texts, as many of each class as possible, and the test texts."""
    train, test = (
        Examples([row.text for row in rows], None, [row.label for row in rows])
        for rows in (read_records(CORPORA / name / f"{split}.tsv", labelled=True)
                     for split in ("train", "test"))
    )  # fmt: skip
    order = np.random.default_rng(seed).permutation(len(train))
    place, seen = {}, dict.fromkeys(train.labels, 0)
    for i in order.tolist():
        place[i] = seen[train.labels[i]]  # its number in its class
        seen[train.labels[i]] += 1
    chosen = sorted(order.tolist(), key=lambda i: (place[i], train.labels[i]))[:size]
    return train.select(chosen), test


def measure(sets: Sequence[str], sizes: Sequence[int], seed: int, train_and_predict) -> Found:
    """Return accuracy and CPU seconds by set and size.

    Args:
        train_and_predict: called with training examples, test texts and the seed; yields once the
            training is done, then the predicted labels.
    """
    found = {}
    for name in sets:
        for size in sizes:
            train, test = sample(name, size, seed)
            begin = time.process_time()
            steps = train_and_predict(train, test, seed)
            next(steps)
            spent = time.process_time() - begin
            predicted = np.array(next(steps))
            found[name, size] = float((predicted == np.array(test.labels)).mean()), spent
    return found


def ours(strategy: str, sets, sizes, is_quick: bool) -> Iterator:
    """`TextClassifier`: yield a description, then the results of one seed per round."""
    logging.getLogger("minibert").setLevel(logging.ERROR)  # it logs that the classifier is new
    yield about_numpy(usable_cores())

    def steps(train, test, seed):
        how = {"epochs": 1} if is_quick else {}
        classifier = TextClassifier(MODEL, strategy=strategy, random_state=seed, **how)
        classifier.fit(train.texts, train.labels)
        yield
        yield classifier.predict(test.texts)

    for seed in count():
        yield measure(sets, sizes, seed, steps)


def frozen(sets, sizes) -> Iterator:
    """Logistic regression on the checkpoint's vectors."""
    extractor = FeatureExtractor.from_pretrained(minilm())
    yield about_numpy(usable_cores())

    def steps(train, test, seed):
        names, ids = np.unique(train.labels, return_inverse=True)
        classifier = logistic_regression(extractor(train.texts), ids, len(names))
        yield
        yield names[classifier.logits(extractor(test.texts)).argmax(axis=1)]

    for seed in count():
        yield measure(sets, sizes, seed, steps)


def tfidf(sets, sizes) -> Iterator:
    """Logistic regression on TF-IDF features."""
    import sklearn

    yield f"scikit-learn {sklearn.__version__}"

    def steps(train, test, seed):
        names, ids = np.unique(train.labels, return_inverse=True)
        outputs = tfidf_logistic_regression(train, test, ids)
        yield
        yield names[outputs.argmax(axis=1)]

    for seed in count():
        yield measure(sets, sizes, seed, steps)


def setfit(sets, sizes, iterations: int) -> Iterator:
    """SetFit, or its recipe with sentence-transformers."""
    torch = use_torch()
    import sentence_transformers

    try:
        import setfit

        steps, about = setfit_steps, f"SetFit {setfit.__version__}"
    except ImportError:
        steps, about = recipe_steps, "SetFit's recipe"
    yield (f"{about}, sentence-transformers {sentence_transformers.__version__}, "
           f"{about_torch(torch)}")  # fmt: skip
    warnings.simplefilter("ignore")
    for seed in count():
        torch.manual_seed(seed)
        yield measure(sets, sizes, seed, lambda *given: steps(*given, iterations))


def setfit_steps(train, test, seed, iterations):
    """Train the package's own model with its own trainer."""
    import tempfile

    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    names, ids = np.unique(train.labels, return_inverse=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=SetFitModel.from_pretrained(str(minilm())),
            args=TrainingArguments(
                folder, num_iterations=iterations, seed=seed, report_to="none",
                save_strategy="no", show_progress_bar=False,
            ),
            train_dataset=Dataset.from_dict({"text": train.texts, "label": ids.tolist()}),
        )  # fmt: skip
        trainer.train()
        yield
        yield names[np.asarray(trainer.model.predict(test.texts))]


def recipe_steps(train, test, seed, iterations):
    """Train sentence-transformers' model on the pairs that SetFit draws."""
    import torch
    from sentence_transformers import SentenceTransformer, util
    from sklearn.linear_model import LogisticRegression

    names, ids = np.unique(train.labels, return_inverse=True)
    rng, everyone = np.random.default_rng(seed), np.arange(len(ids))
    pairs = []
    for _ in range(iterations):
        for i in everyone:
            for is_same in (True, False):
                others = np.flatnonzero((ids == ids[i]) == is_same)
                others = others[others != i]
                if len(others):
                    pairs.append((i, rng.choice(others), float(is_same)))
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    model = SentenceTransformer(str(minilm()), device="cpu").train()
    adam = torch.optim.AdamW(model.parameters(), lr=2e-5)
    steps = -(-len(pairs) // 16)
    warmup = max(round(0.1 * steps), 1)
    for step in range(steps):
        rate = min((step + 1) / warmup, (steps - step) / max(steps - warmup, 1))
        first, second, scores = zip(*pairs[16 * step : 16 * step + 16], strict=True)
        sides = [
            model(model.preprocess([train.texts[i] for i in side]))["sentence_embedding"]
            for side in (first, second)
        ]
        loss = torch.square(util.pairwise_cos_sim(*sides) - torch.tensor(scores)).mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in adam.param_groups:
            group["lr"] = 2e-5 * rate
        adam.step()
    model.eval()
    classifier = LogisticRegression(max_iter=1000).fit(model.encode(train.texts), ids)
    yield
    yield names[classifier.predict(model.encode(test.texts))]


if __name__ == "__main__":
    main()
