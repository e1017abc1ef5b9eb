"""How near do small models come to the Bayes-optimal loss?

The sentences are drawn from a hidden Markov model (`benchmarks.markov`), so the optimal prediction
of a masked word is known, and so is its loss: the Bayes limit. BERTs of several sizes are trained
on sentences that are new in every step, so that no model can memorize them, and evaluated on the
same held-out sentences. All targets are replaced by [MASK], none by a random word. Each size is
trained from scratch for each number of steps, with its own learning-rate schedule.

    python -m benchmarks.bayes_limit
    python -m benchmarks.bayes_limit --quick
"""

import argparse
import time

import numpy as np

from benchmarks.harness import machine
from benchmarks.markov import HiddenMarkov
from minibert import BertConfig, BertForMaskedLM
from minibert.data.corpus import as_batch
from minibert.data.masking import mask_tokens
from minibert.data.rng import generator
from minibert.functional import IGNORED
from minibert.objectives.evaluation import masked_lm_metrics
from minibert.training import AdamW, Engine, linear_schedule, split_batch

PAD, CLS, SEP, MASK, SPECIALS = 0, 2, 3, 4, 5
LANGUAGE = HiddenMarkov.sample(states=16, words=24, seed=0, concentration=0.05)
WORDS = LANGUAGE.emission.shape[1]
LENGTH, BATCH, SHARDS = 16, 64, 2  # words per sentence, sentences per step, shards
SHARE = 0.25  # of masked words: more targets per step than with BERT's 15 %
SEED, HELD_OUT = 0, 4000  # sentences
REACHES = (1, 2, 4)  # visible words on each side
SIZES = [(1, 64), (2, 64), (4, 64), (2, 128)]  # layers, hidden size


def main():
    """Train every size for every number of steps and print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--quick", action="store_true", help="at most 240 steps of two small sizes, as a test"
    )
    options.add_argument(
        "--steps", type=int, default=1600, help="of the longest run (default: %(default)s)"
    )
    options.add_argument(
        "--rate",
        type=float,
        default=2.5e-3,
        help="largest learning rate for hidden size 64 (default: %(default)s)",
    )
    o = options.parse_args()
    total, sizes = (240, SIZES[:2]) if o.quick else (o.steps, SIZES)
    lengths = [total // 4, total // 2, total]
    start = time.perf_counter()
    words = LANGUAGE.sentences(HELD_OUT, LENGTH, generator(SEED, "evaluation", 0))
    ids, labels = mask_sentences(words, generator(SEED, "evaluation", 1))
    masked = labels[:, 1:-1] != IGNORED
    limit = LANGUAGE.best_loss(words, masked)
    print("# Distance to the Bayes-optimal loss\n")
    print(f"{masked.sum():,} masked words in {HELD_OUT:,} sentences\n")
    print("| prediction from | loss | above the limit |\n|---|---|---|")
    for name, loss in {**baselines(words, masked), "all visible words": limit}.items():
        print(f"| {name} | {loss:.3f} | {loss - limit:.3f} |")
    columns = " | ".join(f"{steps:,} steps" for steps in lengths)
    print(f"\n| layers × hidden size | parameters | {columns} | final loss | s |")
    print("|---" * (len(lengths) + 4) + "|")
    for layers, width in sizes:
        begun = time.perf_counter()
        losses = []
        for steps in lengths:
            model = trained(layers, width, steps, o.rate * 64 / width)
            losses.append(masked_lm_metrics(model, ids, labels, PAD).loss)
        gaps = " | ".join(f"{loss - limit:.3f}" for loss in losses)
        print(f"| {layers} × {width} | {model.params.vector.size:,} | {gaps} | {losses[-1]:.3f} | "
              f"{time.perf_counter() - begun:.0f} |", flush=True)  # fmt: skip
    print(f"\n{time.perf_counter() - start:.0f} s in total; NumPy {np.__version__}.\n\n{machine()}")


def trained(layers, width, steps, peak):
    """Return a model trained for a number of steps, each on new sentences."""
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
    model = BertForMaskedLM(config, seed=SEED)
    engine = Engine(model, AdamW(model.params), seed=SEED)
    for step in range(steps):
        words = LANGUAGE.sentences(BATCH, LENGTH, generator(SEED, "order", step))
        ids, labels = mask_sentences(words, generator(SEED, "masking", step))
        rate = linear_schedule(step, steps, steps // 10, peak)
        engine.step(split_batch(as_batch(ids, PAD), labels, SHARDS), rate)
    return model


def mask_sentences(words, rng):
    """Frame sentences (B, T) and mask a share of each: input ids and labels (B, T + 2)."""
    ids = np.pad(words + SPECIALS, ((0, 0), (1, 1)))
    ids[:, 0], ids[:, -1] = CLS, SEP
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
