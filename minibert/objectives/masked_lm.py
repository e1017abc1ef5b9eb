"""Masked language modelling: predict masked tokens from their context."""

import logging
from typing import Protocol

import numpy as np

from minibert.data.corpus import PackedSequences, as_batch
from minibert.data.masking import mask_sequences
from minibert.data.rng import generator
from minibert.data.sampling import batch_indices
from minibert.data.whole_words import continuing_pieces, mask_words
from minibert.models.task_model import BertWithHead
from minibert.objectives.base import BatchSettings, Evaluation, ModelObjective
from minibert.objectives.baselines import count_tokens, unigram_baseline
from minibert.objectives.evaluation import MaskedLMMetrics, masked_lm_metrics
from minibert.objectives.shards import Labels, Shard, split_batch
from minibert.tokenization import PreTrainedTokenizer
from minibert.typing import Array

log = logging.getLogger("minibert")

LEARNED_BY = 0.5  # share of the steps after which a model should be better than the baseline


class MaskingSettings(BatchSettings, Protocol):
    """The settings that decide the masked batches of a run; `training.Settings` has them."""

    @property
    def whole_words(self) -> bool:
        """Whether all pieces of a word are masked together."""

    def masked_share_at(self, step: int) -> float:
        """Return the share of the ordinary tokens that are masked in a step."""


class MaskedLM(ModelObjective):
    """Trains a model to predict masked tokens, with other tokens masked each time.

    Devlin et al. (2019), section 3.1.

    Args:
        model: a model with a masked-LM head.
        tokenizer: its special tokens are never masked.
        rows (S, T): packed sequences to train on; `PackedSequences` if they are larger than memory.
        held_out (S', T): packed sequences to evaluate on; None: no evaluation.
        settings: batch size, shards, steps, seed, masked share, and whether whole words are masked.
            Evaluations mask 15 % of the tokens, whatever the settings.
        threads: number of batches evaluated at a time; None: one per core.

    Attributes:
        baseline: the metrics of token counts on the held-out sequences; None without them.
        latest: the metrics of the latest evaluation; None before the first.

    Raises:
        ValueError: there is no ordinary token to train on or to evaluate on, or the tokenizer has
            more tokens than the model, or does not mark the pieces that continue a word.
    """

    model: BertWithHead

    def __init__(
        self,
        model: BertWithHead,
        tokenizer: PreTrainedTokenizer,
        rows: PackedSequences | Array,
        held_out: Array | None,
        settings: MaskingSettings,
        threads: int | None = None,
    ):
        super().__init__(model)
        if len(tokenizer) > model.config.vocab_size:
            raise ValueError(
                f"tokenizer: expected at most {model.config.vocab_size} tokens, the model's, got "
                f"{len(tokenizer)}; model.resize_token_embeddings({len(tokenizer)}) adds them"
            )
        self.tokenizer, self.rows, self.settings = tokenizer, rows, settings
        self.threads = threads
        self.continues = continuing_pieces(tokenizer) if settings.whole_words else None
        self.baseline: MaskedLMMetrics | None = None
        self.latest: MaskedLMMetrics | None = None
        self.warned = False
        if held_out is not None:
            self._prepare(held_out)

    def _prepare(self, held_out: Array) -> None:
        """Mask the held-out sequences, once for all evaluations, and measure the baseline."""
        counts = count_tokens(self.rows, self.tokenizer)
        totals = {"to train on": counts.sum(),
                  "held out": count_tokens(held_out, self.tokenizer).sum()}  # fmt: skip
        for name, total in totals.items():
            if not total:
                raise ValueError(f"no text {name}: every token of it is unknown or special")
        self.mask_held_out(held_out, generator(self.settings.seed, "evaluation"))
        self.baseline = unigram_baseline(counts, self.held_out_labels, self.tokenizer)

    def mask_held_out(self, held_out: Array, rng: np.random.Generator) -> None:
        """Store masked sequences and their labels for `metrics`."""
        self.held_out_ids, self.held_out_labels = mask_sequences(held_out, self.tokenizer, rng)

    def shards(self, step: int) -> list[Shard]:
        """Return the shards of a step, from its number alone."""
        numbers = batch_indices(step, len(self.rows), self.settings.batch_size, self.settings.seed)
        batch, labels = self.masked_batch(numbers, step)
        return split_batch(batch, labels, self.settings.shards, trim=True)

    def masked_batch(self, numbers: Array, step: int) -> tuple[dict[str, Array], Labels]:
        """Return the batch (B, T) of some sequences, masked, and its labels."""
        ids, labels = self.masked(self.rows[numbers], step)
        return as_batch(ids, self.tokenizer.pad_token_id), labels

    def masked(self, ids: Array, step: int) -> tuple[Array, Array]:
        """Return the input ids (B, T) and the labels (B, T) of sequences in a step."""
        rng = generator(self.settings.seed, "masking", step)
        share = self.settings.masked_share_at(step)
        if self.continues is not None:
            return mask_words(ids, self.tokenizer, self.continues, rng, share)
        return mask_sequences(ids, self.tokenizer, rng, share)

    def metrics(self) -> MaskedLMMetrics:
        """Measure the model on the held-out sequences."""
        pad = self.tokenizer.pad_token_id
        return masked_lm_metrics(
            self.model, self.held_out_ids, self.held_out_labels, pad, threads=self.threads
        )

    def result(self) -> MaskedLMMetrics:
        """Return the metrics at the end of a run.

        Raises:
            FloatingPointError: the held-out loss is not finite.
        """
        metrics = self.latest or self.metrics()
        if not np.isfinite(metrics.loss):
            raise FloatingPointError(
                f"step {self.settings.steps}: the held-out loss is {metrics.loss}; "
                "a lower learning rate or a longer warm-up may help"
            )
        return metrics

    def for_card(self) -> dict[str, object]:
        """Return what a model card states of the objective, besides the settings (dict)."""
        return {}

    def evaluate(self, step: int) -> Evaluation | None:
        """Measure after a step, and warn once if the model is no better than token counts late."""
        if self.baseline is None:
            return None
        metrics = self.latest = self.metrics()
        late = step >= LEARNED_BY * self.settings.steps
        if late and not self.warned and metrics.loss >= self.baseline.loss:
            self.warned = True
            config = self.model.config
            drops = config.hidden_dropout_prob or config.attention_probs_dropout_prob
            log.warning(
                "warning: after %d of %d steps the held-out loss, %.3f, is not lower than that of "
                "counting tokens, %.3f; more steps, another learning rate, a longer warm-up%s "
                "shorter sequences%s may help",
                step, self.settings.steps, metrics.loss, self.baseline.loss,
                *((",", " or no dropout") if drops else (" or", "")),
            )  # fmt: skip
        return f"held-out {metrics}", metrics.figures() | {"yardstick_loss": self.baseline.loss}
