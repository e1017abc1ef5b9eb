"""Train, save, kill and resume on any threads: always bitwise the uninterrupted run."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minibert import BertConfig, BertForMaskedLM
from minibert.objectives import ModelObjective
from minibert.training import AdamW, Engine, Settings, split_batch, train
from minibert.training.checkpoint import checkpoints, read_state, restore_optimizer
from tests.conftest import small_tokenizer

TOKENIZER = small_tokenizer()
TOTAL = 10  # steps of the whole run
CONFIG = BertConfig(
    vocab_size=len(TOKENIZER),
    hidden_size=4,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=6,
    max_position_embeddings=6,
)


class PowerCut(Exception):
    """Simulates the sudden end of a process."""


def shards_at(step):
    rng = np.random.default_rng(step)
    ids = rng.integers(5, CONFIG.vocab_size, (5, 6))
    mask = (np.arange(6) < rng.integers(2, 7, 5)[:, None]).astype(int)
    labels = np.where((mask == 1) & (rng.random(ids.shape) < 0.5), ids, -100)
    labels[0, 0] = 7
    return split_batch({"input_ids": ids, "attention_mask": mask}, labels, 3)


def uninterrupted():
    """Return the weights and both moments after each step of a run on one thread."""
    model = BertForMaskedLM(CONFIG, seed=1)
    optimizer = AdamW(model.params)
    engine, states = Engine(model, optimizer, seed=3, threads=1), []
    for step in range(TOTAL + 1):
        states.append([a.copy() for a in (model.params.vector, optimizer.first, optimizer.second)])
        if step < TOTAL:
            engine.step(shards_at(step), Settings(steps=TOTAL, learning_rate=1e-2).rate(step))
    return states


RIGHT = uninterrupted()


class Run(RuleBasedStateMachine):
    """The folder of a run, and its simulated process."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.start()

    def start(self):
        """Start a process: from the newest checkpoint, or newly initialized."""
        found = checkpoints(self.folder)
        self.model = (
            BertForMaskedLM.from_pretrained(found[-1]) if found else BertForMaskedLM(CONFIG, seed=1)
        )
        self.optimizer = AdamW(self.model.params)
        if found:
            restore_optimizer(found[-1], self.optimizer)

    def train(self, steps, save_every, keep, threads):
        """Train until the power is cut after some steps, or the run ends."""
        last = self.optimizer.step + steps

        def until(step):
            if step == last:
                raise PowerCut
            return shards_at(step)

        engine = Engine(self.model, self.optimizer, seed=3, threads=threads)
        options = Settings(steps=TOTAL, learning_rate=1e-2, save_every=save_every, keep=keep)
        with suppress(PowerCut):
            train(engine, ModelObjective(self.model, until), options, TOKENIZER, run=self.folder)

    @precondition(lambda self: self.optimizer.step < TOTAL)
    @rule(
        steps=st.integers(1, 5),
        save_every=st.integers(1, 4),
        keep=st.integers(1, 3),
        threads=st.integers(1, 4),
    )
    def continue_run(self, steps, save_every, keep, threads):
        self.train(steps, save_every, keep, threads)

    @rule()
    def die_and_resume(self):
        self.start()

    @precondition(lambda self: self.optimizer.step < TOTAL)
    @rule(written=st.integers(0, 1), threads=st.integers(1, 2))
    def die_while_saving(self, written, threads):
        """Cut the power while weights or moments are written; no partial folder is visible."""
        before = {path.name for path in checkpoints(self.folder)}
        name = ("minibert.models.checkpoints", "minibert.training.checkpoint")[written]
        with patch(f"{name}.write_tensors", side_effect=PowerCut):
            self.train(TOTAL, 1, 3, threads)
        assert {path.name for path in checkpoints(self.folder)} == before
        self.start()

    @invariant()
    def the_state_equals_that_of_an_uninterrupted_run(self):
        right = RIGHT[self.optimizer.step]
        mine = (self.model.params.vector, self.optimizer.first, self.optimizer.second)
        assert all((a == b).all() for a, b in zip(mine, right, strict=True))

    @invariant()
    def every_checkpoint_is_complete_and_right(self):
        for path in checkpoints(self.folder):
            step = read_state(path)["step"]
            assert path.name == f"checkpoint-{step}"
            assert (BertForMaskedLM.from_pretrained(path).params.vector == RIGHT[step][0]).all()

    @invariant()
    def the_folder_contains_nothing_else(self):
        names = {path.name for path in self.folder.iterdir()}
        expected = {path.name for path in checkpoints(self.folder)}
        assert names <= expected | {"history.jsonl"}

    def teardown(self):
        shutil.rmtree(self.folder)


TestRun = Run.TestCase
TestRun.settings = settings(max_examples=15, stateful_step_count=8, deadline=None)
