"""Bugs in optimizers, objectives and the engine."""

import numpy as np

from minibert.data.rng import generator
from minibert.objectives import masked_lm
from minibert.optim import AdamW, adamw, clip_scale, linear_schedule, spans
from minibert.training import Engine, engine
from minibert.training.early_stopping import BestCheckpoint
from tests.mutations.checks import clipped_step, example, other_tokens_masked
from tests.mutations.mutation import Everywhere, Place, mutation
from tests.objectives import test_two_phase
from tests.optim import test_adamw, test_schedule
from tests.properties import test_numbers
from tests.training import test_engine, test_finetune

RIGHT_UPDATE = AdamW._update


def one_dropout_for_all_shards(seed, purpose, *numbers):
    return generator(seed, purpose, numbers[0], 0)


def masked_alike_at_each_step(seed, purpose, step):
    return generator(seed, purpose, 0 if purpose == "masking" else step)


def between_run_per_shard(self, shards, own):
    """Run the second phase on the result of each shard alone."""
    if not self.objective.two_phase:
        return [None] * len(shards)
    parts = [self.objective.first(shards[i], self.dropout_rng(i)) for i in own]
    return [self.objective.between([part])[0] for part in parts]


def norm_of_squares_that_underflow(gradient, max_norm):
    norm = float(np.sqrt(np.dot(gradient, gradient)))
    return norm, min(1.0, max_norm / norm) if norm > 0 else 1.0


def no_clipping(pieces, max_norm, squared):
    return float(np.sqrt(squared)), 1.0


def spans_that_all_decay(params, rates, alone=()):
    return [span._replace(decays=True) for span in spans(params, rates, alone)]


def frozen_spans_too(params, rates):
    return spans(params, {name: rate or 1.0 for name, rate in rates.items()})


def pieces_that_all_decay(self, gradient, scale, piece, *rows):
    RIGHT_UPDATE(self, gradient, scale, piece._replace(decays=True), *rows)


def moments_without_correction(self, gradient, scale, piece, *rows):
    step, self.step = self.step, 10**9
    RIGHT_UPDATE(self, gradient, scale, piece, *rows)
    self.step = step


def no_warm_up(step, total, warmup, peak):
    return linear_schedule(step, total, 0, peak)


def first_of_equal_scores(self, step, score):
    is_best = self.score is None or score > self.score
    if is_best:
        self.step, self.score = step, score
    self.evals_since_best = 0 if is_best else self.evals_since_best + 1
    return is_best


UPDATES = {
    "seed": 0, "steps": 3, "betas": (0.9, 0.98), "eps": 1e-8, "weight_decay": 0.5, "scale": 0.25,
}  # fmt: skip

MUTATIONS = [
    mutation(
        "one dropout for all shards",
        Place(engine, "generator"),
        one_dropout_for_all_shards,
        example(test_engine.test_step_draws_other_dropout_for_each_shard_step_and_seed),
    ),
    mutation(
        "the same tokens masked at each step",
        Place(masked_lm, "generator"),
        masked_alike_at_each_step,
        other_tokens_masked,
    ),
    mutation(
        "the second phase run per shard",
        Place(Engine, "_exchange"),
        between_run_per_shard,
        example(
            test_two_phase.test_engine_gives_the_same_loss_and_gradient_for_any_number_of_shards,
            sizes=(3, 3),
        ),
    ),
    mutation(
        "the gradient norm from squares that underflow",
        Everywhere(clip_scale),
        norm_of_squares_that_underflow,
        example(test_numbers.test_clipping_and_adamw_accept_gradients_of_any_size, scale=1e-30),
    ),
    mutation("no clipping", Place(engine, "clip_scale"), no_clipping, clipped_step),
    mutation(
        "biases and norms decay",
        Everywhere(spans),
        spans_that_all_decay,
        example(test_adamw.test_spans_decay_all_but_biases_and_norms),
    ),
    mutation(
        "frozen layers decay",
        Place(adamw, "spans"),
        frozen_spans_too,
        example(
            test_finetune.test_freeze_keeps_the_lowest_blocks_and_their_gradients_at_zero, frozen=1
        ),
    ),
    mutation(
        "weight decay of every piece",
        Place(AdamW, "_update"),
        pieces_that_all_decay,
        example(test_adamw.test_update_follows_the_equations, **UPDATES),
    ),
    mutation(
        "moments without bias correction",
        Place(AdamW, "_update"),
        moments_without_correction,
        example(test_adamw.test_update_follows_the_equations, **UPDATES),
    ),
    mutation(
        "no warm-up",
        Everywhere(linear_schedule),
        no_warm_up,
        example(
            test_schedule.test_linear_schedule_rises_and_falls_in_straight_lines,
            total=20, share=0.3,
        ),
    ),
    mutation(
        "of equal evaluations the first is kept",
        Place(BestCheckpoint, "_record"),
        first_of_equal_scores,
        example(
            test_finetune.test_best_checkpoint_should_stop_after_patience_evaluations,
            scores=[1, 1, 0], patience=2,
        ),
    ),
]  # fmt: skip
