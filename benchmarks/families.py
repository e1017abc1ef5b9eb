"""How fast is each relative of BERT, compared with transformers on PyTorch?

Each family has its base width, 2 layers and a vocabulary of 8,192. Inference maps a batch of 8
sequences to their hidden states, as `embed` does; a training step masks 8 sequences, runs forward
and backward, clips, and updates with AdamW, as in `benchmarks.train_step`: float32, without
dropout, logits at masked positions only. Both sides start from the same weights and must compute
the same loss and the same hidden states. PyTorch's attention is "sdpa" where transformers has it
for a family.

    pip install torch==2.13.0 && pip install '.[parity]'
    python -m benchmarks.families --models modernbert deberta-v2
"""

from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

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
from benchmarks.peers import Minibert, PyTorch, random_sequences
from benchmarks.train_step import MASK, SPECIAL, V
from minibert.data.masking import mask_tokens
from minibert.data.ragged import RaggedSequences
from minibert.inference.batched import map_sequences
from minibert.models.table import family_class
from minibert.models.unpadded import hidden_states_of, runs_unpadded
from minibert.runtime.threads import usable_cores
from minibert.tokenization import Encoding

B, L, LENGTHS = 8, 2, (128, 512)
JOBS = ("inference", "training step")
HEADS = ("model", "batch", "job", "minibert, tokens/s", "PyTorch, tokens/s", "minibert / PyTorch")
# Settings of the published base models beyond the sizes of their classes; ELECTRA's small one
# projects.
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {},
    "roberta": {},
    "mpnet": {},
    "electra": {"embedding_size": 128},
    "albert": {"embedding_size": 128},
    "modernbert": {"intermediate_size": 1152, "global_attn_every_n_layers": 3},
    "deberta-v2": {
        "relative_attention": True, "pos_att_type": ("c2p", "p2c"), "position_buckets": 256,
        "share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False,
    },
}  # fmt: skip


class Ours(Minibert):
    """minibert, with prediction as its commands predict."""

    def predict(self, ids: np.ndarray) -> np.ndarray:
        """Return the last hidden states (B, T, D) of sequences (B, T)."""
        model, last = self.model, self.model.config.num_blocks
        sequences = RaggedSequences(
            Encoding(row, np.zeros_like(row), np.ones_like(row), [], [], [], []) for row in ids
        )

        def states(batches: list[dict]) -> np.ndarray:
            found = hidden_states_of(model, [model.check(**each) for each in batches], {last})
            return np.concatenate([each[last] for each in found])

        pad, padded = model.config.pad_token_id, not runs_unpadded(model)
        found = map_sequences(states, sequences, pad, padded=padded, threads=self.engine.threads)
        order, parts = zip(*found, strict=True)
        return np.concatenate(parts)[np.argsort(np.concatenate(order))]


class Theirs(PyTorch):
    """Any family of transformers; its head reads the masked positions only."""

    def __init__(self, config: Any, seed: int = 0, threads: int | None = None):
        super().__init__(config, seed, threads)
        self.positions: Any = None
        self.model.base_model.register_forward_hook(self._select)
        self.about += f", {self.model.config._attn_implementation} attention"

    def _select(self, module: Any, arguments: Any, out: Any) -> None:
        """Give the head the tokens at `positions` of the batch as one sequence (1, M, D)."""
        if self.positions is not None:
            out.last_hidden_state = out.last_hidden_state.flatten(0, 1)[self.positions][None]

    def logits(self, ids: Any, positions: Any) -> Any:
        """Return the logits (M, V) at some positions (M,) in the batch."""
        self.positions = positions
        return self.model(ids).logits[0]  # (1, M, V) -> (M, V)

    def predict(self, ids: np.ndarray) -> np.ndarray:
        """Return the last hidden states (B, T, D) of sequences (B, T)."""
        self.positions = None
        self.model.eval()
        with self.torch.inference_mode():
            found = self.model.base_model(self.torch.as_tensor(ids)).last_hidden_state
        self.model.train()
        return found.numpy()


SIDES: dict[str, Callable] = {"minibert": Ours, "PyTorch": Theirs}


def main() -> None:
    """Measure each family on both sides alternately, and print the table."""
    parser = options(__doc__, can_limit=True)
    parser.add_argument("--models", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS, help="tokens of a text")
    parser.add_argument("--threads", type=int, help="of both sides (default: one per core)")
    o = parse(parser)
    o.threads = o.threads or usable_cores()
    calls, rows, about = 1 if o.quick else 3, [], {}
    for model in o.models:
        for T in o.lengths:
            jobs = {side: (measure, side, model, T, calls, o.threads) for side in SIDES}
            with workers(jobs) as (running, missing):
                check_equal({side: worker.ready[1:] for side, worker in running.items()})
                about |= {f"{model}, {side}": each.ready[0] for side, each in running.items()}
                about |= missing
                rows += compare(model, T, alternate(o, running))
    note = f"Each is the fastest of {calls} calls of a round."
    report(
        o, "Relatives of BERT", table(HEADS, rows), note, table(("side", ""), about.items())
    )  # fmt: skip


def check_equal(found: dict[str, tuple[float, np.ndarray]]) -> None:
    """Check that both sides computed the same loss and the same hidden states (T, D)."""
    losses, states = zip(*found.values(), strict=True)
    assert max(losses) - min(losses) < 1e-3, f"expected equal losses, got {losses}"
    for each in states:
        difference = np.abs(each - states[0]).max()
        assert difference < 1e-3, f"expected equal hidden states, got a difference of {difference}"


def compare(model: str, T: int, found: dict[str, list[list[float]]]) -> Iterator[tuple[str, ...]]:
    """Yield the table rows of one family and length."""
    for i, job in enumerate(JOBS):
        speeds = {side: [B * T / each[i] for each in rounds] for side, rounds in found.items()}
        cells = [spread(own, ",.0f") for own in speeds.values()]
        cells += [spread(ratios(*speeds.values()))] if len(speeds) > 1 else [""] * 2
        yield model, f"{B} x {T}", job, *cells


def measure(side: str, name: str, T: int, calls: int, threads: int) -> Iterator:
    """One side: yield a description, a loss and hidden states, then the seconds of each round."""
    config = config_of(name)
    model, rng = SIDES[side](config, threads=threads), np.random.default_rng(0)
    batches = list(islice(random_sequences(config, B, T), 4))
    masked = [mask_tokens(ids, SPECIAL, MASK, V, rng) for ids in batches]
    first = model.about, model.loss(*masked[0]), model.predict(batches[0])[0]
    steps, texts = cycle(masked), cycle(batches)
    jobs = (lambda: model.predict(next(texts))), (lambda: model.step(*next(steps)))
    jobs[1]()  # a warm-up
    yield first
    while True:
        yield [min(elapsed(job) for _ in range(calls)) for job in jobs]


def config_of(name: str) -> Any:
    """Return the configuration of a family of base width."""
    sizes = {"num_hidden_layers": L, "vocab_size": V, "hidden_dropout_prob": 0.0,
             "attention_probs_dropout_prob": 0.0, **FAMILIES[name]}  # fmt: skip
    kind = family_class(name, "Config")
    longest = kind.preset("base", **sizes)
    spare = longest.max_position_embeddings - longest.longest  # positions before the first token
    return kind.preset("base", **sizes, max_position_embeddings=max(LENGTHS) + spare)


if __name__ == "__main__":
    main()
