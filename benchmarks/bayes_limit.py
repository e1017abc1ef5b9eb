"""How near do small models come to the best that is possible?

The language is a hidden Markov model's (`benchmarks.markov`), so the best guess at a hidden word
is known, and so is its loss: the Bayes limit. BERTs of several sizes are trained on sentences that
are new in every step, so nothing can be learned by heart, and measured on the same held-out ones.
Every target is shown as [MASK]: noise in place of words would be another question. Each size is
trained from scratch for each number of steps, with its own warm-up and fall of the learning rate.

    python -m benchmarks.bayes_limit
    python -m benchmarks.bayes_limit --quick
"""

import argparse
import os
import platform
import time

import numpy as np

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
LENGTH, BATCH, SHARDS = 16, 64, 2  # words in a sentence, sentences in a step and their parts
SHARE = 0.25  # of the words, hidden: more to learn from in a step than BERT's 15 %
SEED, HELD_OUT = 0, 4000  # sentences
REACHES = (1, 2, 4)  # words on each side
SIZES = [(1, 64), (2, 64), (4, 64), (2, 128)]  # layers and width


def main():
    """Train every size for every number of steps, and print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--quick", action="store_true", help="240 steps at most, of two small sizes"
    )
    options.add_argument("--steps", type=int, default=1600, help="of the longest run")
    options.add_argument("--rate", type=float, default=2.5e-3, help="the largest, for width 64")
    o = options.parse_args()
    total, sizes = (240, SIZES[:2]) if o.quick else (o.steps, SIZES)
    lengths = [total // 4, total // 2, total]
    start = time.perf_counter()
    words = LANGUAGE.sentences(HELD_OUT, LENGTH, generator(SEED, "evaluation", 0))
    shown, labels = mask_sequences(words, generator(SEED, "evaluation", 1))
    hidden = labels[:, 1:-1] != IGNORED
    limit = LANGUAGE.best_loss(words, hidden)
    print(f"{platform.python_implementation()} {platform.python_version()}, "
          f"NumPy {np.__version__}, {os.cpu_count()} cores")  # fmt: skip
    print(f"{hidden.sum():,} hidden words in {HELD_OUT:,} sentences\n")
    print("| guesses by | loss | above the limit |\n|---|---|---|")
    for name, loss in {**yardsticks(words, hidden), "everything that is seen": limit}.items():
        print(f"| {name} | {loss:.3f} | {loss - limit:.3f} |")
    columns = " | ".join(f"{steps:,} steps" for steps in lengths)
    print(f"\n| layers × width | parameters | {columns} | loss at last | s |")
    print("|---" * (len(lengths) + 4) + "|")
    for layers, width in sizes:
        begun = time.perf_counter()
        losses = []
        for steps in lengths:
            model = trained(layers, width, steps, o.rate * 64 / width)
            losses.append(masked_lm_metrics(model, shown, labels, PAD).loss)
        gaps = " | ".join(f"{loss - limit:.3f}" for loss in losses)
        print(f"| {layers} × {width} | {model.params.vector.size:,} | {gaps} | {losses[-1]:.3f} | "
              f"{time.perf_counter() - begun:.0f} |", flush=True)  # fmt: skip
    print(f"\n{time.perf_counter() - start:.0f} s in all")


def trained(layers, width, steps, peak):
    """Return a model after so many steps, none of which saw a sentence of another."""
    config = BertConfig(
        vocab_size=SPECIALS + WORDS,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        intermediate_size=4 * width,
        max_position_embeddings=LENGTH + 2,
        hidden_dropout_prob=0,  # no sentence comes twice, so there is nothing to overfit
        attention_probs_dropout_prob=0,
        initializer_range=0.06,  # near 1/√D, as suits so small a D; 0.02 learns later
    )
    model = BertForMaskedLM(config, seed=SEED)
    engine = Engine(model, AdamW(model.params), seed=SEED)
    for step in range(steps):
        words = LANGUAGE.sentences(BATCH, LENGTH, generator(SEED, "order", step))
        shown, labels = mask_sequences(words, generator(SEED, "masking", step))
        rate = linear_schedule(step, steps, steps // 10, peak)
        engine.step(split_batch(as_batch(shown, PAD), labels, SHARDS), rate)
    return model


def mask_sequences(words, rng):
    """Frame sentences (B, T) and hide a share of each: what is shown and the labels, (B, T + 2)."""
    ids = np.pad(words + SPECIALS, ((0, 0), (1, 1)))
    ids[:, 0], ids[:, -1] = CLS, SEP
    _, labels = mask_tokens(ids, range(SPECIALS), MASK, SPECIALS + WORDS, rng, SHARE)
    return np.where(labels != IGNORED, MASK, ids), labels


def yardsticks(words, hidden):
    """Return the losses of who guesses as well as can be, but sees only some of the words."""
    row, place = np.nonzero(hidden)
    said = words[row, place]
    everything = np.ones((1, LENGTH), bool)
    unigram = LANGUAGE.posterior(np.zeros_like(everything), everything)[0].mean(axis=0)  # (W,)
    losses = {"how common each word is": -np.log(unigram[said]).mean()}
    for reach in REACHES:
        far = abs(np.arange(LENGTH) - place[:, None]) > reach  # (M, T)
        guess = LANGUAGE.posterior(words[row], hidden[row] | far)[range(len(row)), place]  # (M, W)
        name = f"up to {reach} word{'s' * (reach > 1)} on each side"
        losses[name] = -np.log(guess[range(len(row)), said]).mean()
    return losses


if __name__ == "__main__":
    main()
