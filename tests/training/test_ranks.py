"""Ranks: their shards are a partition, and several MPI processes train as one does."""

import os
import shutil
import subprocess
import sys

import pytest

from minibert import BertForMaskedLM
from minibert.cli import main
from minibert.objectives import ModelObjective
from minibert.optim import Muon
from minibert.training import AdamW, Engine, Interrupted, Settings, split_batch, train
from minibert.training.history import read_history
from minibert.training.mpi import launched_ranks
from minibert.training.ranks import ALONE, Ranks
from tests.objectives.test_two_phase import InBatchNegatives, one_step
from tests.objectives.test_two_phase import model as two_phase_model
from tests.training.test_engine import CONFIG, batch

TEXTS = ["the cat sat on the mat", "a dog ran under the tree", "then it was red and big"]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_part_of_partitions_the_shards_in_order(count, size):
    shares = []
    for rank in range(size):
        ranks = Ranks()
        ranks.rank, ranks.size = rank, size
        shares.append(ranks.part_of(count))
    assert [i for share in shares for i in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


class Rank(Ranks):
    """One of two ranks; `heard` contains the results that the other rank would send."""

    def __init__(self, rank, heard=()):
        self.rank, self.size, self.heard = rank, 2, heard

    def sum_up(self, vector, loss):
        self.sent = vector.copy(), loss
        for other, its_loss in self.heard:
            vector += other
            loss += its_loss
        return loss


def test_step_of_two_ranks_equals_the_step_of_one_process():
    """Dropout depends on the shard; denominator and norm are those of the batch."""
    shards = split_batch(*batch(0), 2)
    assert sorted({(labels != -100).sum() for _, labels in shards})[
        1:
    ]  # with different numbers of labels

    def stepped(ranks):
        model = BertForMaskedLM(CONFIG, seed=1)
        result = Engine(model, AdamW(model.params), clip=0.1, ranks=ranks).step(shards, 1e-2)
        return result, model.params.vector

    alone, vector = stepped(ALONE)
    assert alone.norm > 0.1
    other = Rank(1)
    stepped(other)
    together, same = stepped(Rank(0, heard=[other.sent]))
    assert together == alone
    assert (same == vector).all()


def test_train_stops_all_ranks_after_the_same_step(tokenizer):
    model = BertForMaskedLM(CONFIG, seed=1)
    optimizer = AdamW(model.params)

    class Told(Rank):
        def any(self, flag):
            return optimizer.step == 2

    engine = Engine(model, optimizer, ranks=Told(0))
    with pytest.raises(Interrupted, match="stopped after step 2 of 9"):
        train(
            engine,
            ModelObjective(model, lambda step: split_batch(*batch(step), 2)),
            Settings(steps=9),
            tokenizer,
        )


def test_launched_ranks_names_the_extra_when_mpi4py_is_missing(monkeypatch):
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert launched_ranks() is ALONE
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ModuleNotFoundError, match=r"install the extra minibert\[mpi\]"):
        launched_ranks()


@pytest.fixture(scope="module")
def room(tmp_path_factory, tokenizer):
    """Return a folder with a corpus, a tokenizer and a model trained by one process."""
    pytest.importorskip("mpi4py")
    folder = tmp_path_factory.mktemp("ranks")
    documents = [f"{TEXTS[n % 3]}\n{TEXTS[n // 3 % 3]} {n % 7}" for n in range(90)]
    (folder / "corpus.txt").write_text("\n\n".join(documents) + "\n", "utf-8")
    tokenizer.save_pretrained(folder / "tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert main(list(map(str, pretrain(folder, "alone")))) == 0
        yield folder


def pretrain(folder, out, *more):
    return ["pretrain", folder / "corpus.txt", "--tokenizer", folder / "tokenizer", "--length", 16,
            "--steps", 12, "--batch-size", 8, "--shards", 4, "--dropout", 0.1, "--save-every", 4,
            "--out", folder / out, *more]  # fmt: skip


def launch(count, arguments, program=("-m", "minibert")):
    """Run minibert on `count` ranks."""
    mpiexec = shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or "mpiexec"  # noqa: PTH120
    command = [mpiexec, "-n", count, sys.executable, *program, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("count", [2, 4])
def test_pretrain_on_ranks_gives_the_losses_of_one_process(room, count):
    done = launch(count, pretrain(room, f"ranks-{count}"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("held out:") == 1
    alone, together = (
        [line["loss"] for line in read_history(room / name) if "loss" in line]
        for name in ("alone", f"ranks-{count}")
    )
    assert len(alone) == 12
    assert together == pytest.approx(alone, rel=1e-6)


@pytest.mark.slow
def test_distill_on_two_ranks_gives_the_bits_of_one_process(room, monkeypatch):
    """With a shard each; sums of more depend on the order, and the norm on its pieces."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(room / "cache"))
    words = ["distill", room / "alone", room / "corpus.txt", "--length", 16, "--steps", 5,
             "--batch-size", 4, "--shards", 2, "--dropout", 0.1, "--clip", 1e9]  # fmt: skip
    assert main([*map(str, words), "--out", str(room / "student")]) == 0
    done = launch(2, [*words, "--out", room / "student-2"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("this model: loss") == 1
    weights = [
        (room / name / "model.safetensors").read_bytes() for name in ("student", "student-2")
    ]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_replaced_tokens_on_ranks_give_the_losses_of_one_process(room, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(room / "cache"))
    more = ("--objective", "replaced-tokens", "--size", "nano", "--steps", 5)
    assert main(list(map(str, pretrain(room, "electra", *more)))) == 0
    done = launch(2, pretrain(room, "electra-2", *more))
    assert done.returncode == 0, done.stderr
    alone, together = (
        [line["loss"] for line in read_history(room / name) if "loss" in line]
        for name in ("electra", "electra-2")
    )
    assert len(alone) == 5
    assert together == pytest.approx(alone, rel=1e-5)
    for folder in (room / "electra-2", room / "electra-2" / "generator"):
        assert (folder / "model.safetensors").is_file()


def test_two_phase_objective_gives_the_same_loss_on_mpi_ranks(room):
    objective = InBatchNegatives(two_phase_model(), (1, 2, 3))
    loss, gradient = one_step(objective)
    code = """
from minibert.training.mpi import launched_ranks
from tests.objectives.test_two_phase import InBatchNegatives, model, one_step
ranks = launched_ranks()
loss, gradient = one_step(InBatchNegatives(model(), (1, 2, 3)), ranks=ranks)
if not ranks.rank:
    print(ranks.size, loss, abs(gradient).sum())
"""
    done = launch(2, (), ("-c", code))
    assert done.returncode == 0, done.stderr
    size, *figures = map(float, done.stdout.split())
    assert size == 2
    assert figures == pytest.approx([loss, abs(gradient).sum()], rel=1e-5)


def test_muon_gives_the_same_losses_on_mpi_ranks(room):
    """Less closely than with AdamW: rounding in small singular values is enlarged with them."""
    losses = [step.loss for step in muon_steps(ALONE)]
    code = """
from minibert.training.mpi import launched_ranks
from tests.training.test_ranks import muon_steps
ranks = launched_ranks()
losses = [step.loss for step in muon_steps(ranks)]
if not ranks.rank:
    print(ranks.size, *losses)
"""
    for count in (2, 4):
        done = launch(count, (), ("-c", code))
        assert done.returncode == 0, done.stderr
        size, *together = map(float, done.stdout.split())
        assert size == count
        assert together == pytest.approx(losses, rel=1e-4)
    assert losses[-1] < losses[0] - 0.1


def muon_steps(ranks):
    """Return the results of some steps with Muon, dropout and clipping."""
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, Muon(model.params), clip=1.0, ranks=ranks)
    return [engine.step(split_batch(*batch(step % 2), 4), 1e-2) for step in range(12)]


def test_pretrain_resumes_after_a_rank_was_killed(room):
    code = """
import os, signal, sys
from minibert.cli import main
from minibert.objectives import ModelObjective
from minibert.objectives import masked_lm
right, calls = masked_lm.split_batch, []
def killing(*arguments, **options):
    calls.append(arguments)
    if len(calls) == 7 and os.environ["PMI_RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return right(*arguments, **options)
masked_lm.split_batch = killing
sys.exit(main(sys.argv[1:]))
"""
    died = launch(2, pretrain(room, "died"), ("-c", code))
    assert died.returncode != 0
    assert "signal 9" in died.stdout + died.stderr  # the message of mpiexec
    assert [path.name for path in (room / "died").glob("checkpoint-*")] == ["checkpoint-4"]
    again = launch(2, pretrain(room, "died", "--resume"))
    assert again.returncode == 0, again.stderr
    alone, together = (
        [line["loss"] for line in read_history(room / name) if "loss" in line]
        for name in ("alone", "died")
    )
    assert together == pytest.approx(alone, rel=1e-6)


def test_pretrain_refuses_ranks_with_different_settings(room):
    code = """
import os, sys
from minibert.cli import main
from minibert.objectives import ModelObjective
sys.exit(main([*sys.argv[1:], "--seed", os.environ["PMI_RANK"]]))
"""
    done = launch(2, pretrain(room, "disagree"), ("-c", code))
    assert done.returncode != 0
    assert "settings: rank 0 and rank 1 disagree" in done.stderr
    # A failed rank ends the others immediately; the lock of a dead one may remain, without effect.
    assert {path.name for path in (room / "disagree").glob("*")} <= {".lock"}


def test_pretrain_refuses_more_ranks_than_shards(room):
    done = launch(2, pretrain(room, "few", "--shards", 1))
    assert "shards: expected one at least for each of 2 ranks, got 1" in done.stderr
    assert done.returncode != 0


@pytest.mark.slow
def test_ranks_learn_and_measure_once_and_follow_the_first(room):
    """The vocabulary, the measured seconds and the time that is left are those of rank 0."""
    code = """
import os, sys
from minibert.cli import main, pretrain_budget, pretrain_plan
rank = int(os.environ["PMI_RANK"])
right = pretrain_budget.learn_tokenizer
def learn(*arguments):
    assert rank == 0
    return right(*arguments)
pretrain_budget.learn_tokenizer = learn
measure = pretrain_plan.step_seconds
def step_seconds(*arguments):
    measure(*arguments)
    return 2000.0
pretrain_plan.step_seconds = step_seconds
pretrain_budget.Budget.left = lambda self: 5000.0 + 9000.0 * rank
sys.exit(main(sys.argv[1:]))
"""
    words = ["pretrain", room / "corpus.txt", "--vocab-size", 60, "--minutes", 99, "--warmup", 0,
             "--out", room / "chosen"]  # fmt: skip
    done = launch(2, words, ("-c", code))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("size: tiny; ") == 1
    assert "99 minutes are 2 steps" in done.stdout
    again = launch(2, [*words, "--resume"])
    assert again.returncode == 0, again.stderr
    assert "this run is finished" in again.stdout
