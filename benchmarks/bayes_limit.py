"""How near do small models come to the Bayes-optimal loss, and by which recipe?

The sentences are drawn from a hidden Markov model (`benchmarks.markov`), so the optimal prediction
of a masked word is known, and so is its loss: the Bayes limit. BERTs of several sizes are trained
on sentences that are new in every step, so that no model can memorize them, and evaluated on the
same held-out sentences. All targets are replaced by [MASK], none by a random word. Each size is
trained from scratch for each number of steps, with its own learning-rate schedule, by each recipe;
recipe 2 begins with the counts of the sentences of the first 100 steps. One share of the words is
masked for all recipes.

    python -m benchmarks.bayes_limit
    python -m benchmarks.bayes_limit --quick
"""

from types import SimpleNamespace

import numpy as np

from benchmarks.harness import busy_share, clocks, options, parse, report, table
from benchmarks.markov import HiddenMarkov
from minibert import BertConfig, BertForMaskedLM
from minibert.data.corpus import as_batch
from minibert.data.masking import mask_tokens
from minibert.data.rng import generator
from minibert.functional import IGNORED
from minibert.objectives.evaluation import masked_lm_metrics
from minibert.training import Engine, split_batch
from minibert.training.initialization import initialize_from_text
from minibert.training.pretraining import optimizer_for
from minibert.training.recipes import RECIPES

PAD, CLS, SEP, MASK, SPECIALS = 0, 2, 3, 4, 5
LANGUAGE = HiddenMarkov.sample(states=16, words=24, seed=0, concentration=0.05)
WORDS = LANGUAGE.emission.shape[1]
LENGTH, BATCH, SHARDS = 16, 64, 2  # words per sentence, sentences per step, shards
SHARE = 0.25  # of masked words: more targets per step than with BERT's 15 %
SEED, HELD_OUT = 0, 4000  # sentences
COUNTED = 100  # steps whose sentences a start from counts has seen
REACHES = (1, 2, 4)  # visible words on each side
SIZES = [(1, 64), (2, 64), (4, 64), (2, 128)]  # layers, hidden size
COMPARED = ("2", "1")  # recipes


def main():
    """Train every size by every recipe for every number of steps, and print the tables."""
    parser = options(__doc__)
    parser.add_argument(
        "--steps", type=int, help="of the longest run (default: 1600; --quick: 240)"
    )
    o = parse(parser)
    steps, sizes = (o.steps or 240, SIZES[:2]) if o.quick else (o.steps or 1600, SIZES)
    budgets = [steps // 4, steps // 2, steps]
    before = clocks()
    words = LANGUAGE.sentences(HELD_OUT, LENGTH, generator(SEED, "evaluation", 0))
    ids, labels = mask_sentences(words, generator(SEED, "evaluation", 1))
    masked = labels[:, 1:-1] != IGNORED
    limit = LANGUAGE.best_loss(words, masked)
    found = {**baselines(words, masked), "all visible words": limit}
    predictions = [(name, f"{loss:.3f}", f"{loss - limit:.3f}") for name, loss in found.items()]
    rows = []
    for layers, width in sizes:
        for recipe in COMPARED:
            models = [trained(layers, width, RECIPES[recipe], count) for count in budgets]
            losses = [masked_lm_metrics(model, ids, labels, PAD).loss for model in models]
            rows.append((
                f"{layers} x {width}", f"{models[0].params.vector.size:,}", recipe,
                *(f"{loss - limit:.3f}" for loss in losses), f"{losses[-1]:.3f}",
            ))  # fmt: skip
    heads = "layers x width", "parameters", "recipe", *(f"{count:,} steps" for count in budgets)
    o.others.append(busy_share(before))
    report(
        o,
        "Distance to the Bayes-optimal loss",
        table(("prediction from", "loss", "above the limit"), predictions),
        f"{masked.sum():,} masked words in {HELD_OUT:,} sentences.\n\n"
        "Nats above the limit after trainings of three lengths, and the loss of the longest:",
        table((*heads, "final loss"), rows),
        method="One seed; each number of steps is a training of its own.",
    )


def trained(layers, width, recipe, steps):
    """Return a model trained by a recipe for a number of steps, each on new sentences."""
    config = BertConfig(
        vocab_size=SPECIALS + WORDS,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        intermediate_size=4 * width,
        max_position_embeddings=LENGTH + 2,
        hidden_dropout_prob=0,  # no sentence occurs twice, so the model cannot overfit
        attention_probs_dropout_prob=0,
        initializer_range=0.06,  # near 1/√D, because D is small; 0.02 learns later
    )
    settings = recipe.settings(config, steps, batch_size=BATCH, shards=SHARDS, seed=SEED)
    model = BertForMaskedLM(config, seed=SEED)
    if settings.initialization == "text":
        seen = np.concatenate([framed(sentences(step)) for step in range(COUNTED)])
        tokenizer = SimpleNamespace(pad_token_id=PAD)
        initialize_from_text(model, seen.reshape(-1), tokenizer, SEED)  # (B, T + 2) -> (N,)
    engine = Engine(model, optimizer_for(model, settings), seed=SEED, clip=settings.clip)
    for step in range(steps):
        ids, labels = mask_sentences(sentences(step), generator(SEED, "masking", step))
        shards = split_batch(as_batch(ids, PAD), labels, SHARDS)
        engine.step(shards, settings.rate(step))
    return model


def sentences(step):
    """Return the sentences (B, T) of a step."""
    return LANGUAGE.sentences(BATCH, LENGTH, generator(SEED, "order", step))


def framed(words):
    """Return the ids (B, T + 2) of sentences between [CLS] and [SEP]."""
    ids = np.pad(words + SPECIALS, ((0, 0), (1, 1)))
    ids[:, 0], ids[:, -1] = CLS, SEP
    return ids


def mask_sentences(words, rng):
    """Frame sentences (B, T) and mask a share of each: input ids and labels (B, T + 2)."""
    ids = framed(words)
    _, labels = mask_tokens(ids, range(SPECIALS), MASK, SPECIALS + WORDS, rng, SHARE)
    return np.where(labels != IGNORED, MASK, ids), labels


def baselines(words, masked):
    """Return the losses of optimal predictions from a part of the words (dict)."""
    row, position = np.nonzero(masked)
    targets = words[row, position]
    everything = np.ones((1, LENGTH), bool)
    unigram = LANGUAGE.posterior(np.zeros_like(everything), everything)[0].mean(axis=0)  # (W,)
    losses = {"word frequencies": -np.log(unigram[targets]).mean()}
    for reach in REACHES:
        far = abs(np.arange(LENGTH) - position[:, None]) > reach  # (M, T)
        posterior = LANGUAGE.posterior(words[row], masked[row] | far)  # (M, T, W)
        probabilities = posterior[range(len(row)), position, targets]  # (M,)
        name = f"up to {reach} word{'s' * (reach > 1)} on each side"
        losses[name] = -np.log(probabilities).mean()
    return losses


if __name__ == "__main__":
    main()
