"""`minibert pretrain` without sizes or a tokenizer: what it chooses, stores and refuses."""

import io
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from minibert import BertForMaskedLM, WordPieceTokenizer
from minibert.cli import pretrain_budget
from minibert.cli.pretrain_budget import Budget, learn_tokenizer, sample_in
from minibert.training import Engine
from minibert.training.card import is_generated
from minibert.training.checkpoint import read_state
from minibert.training.history import read_history
from minibert.training.recipes import PreTraining
from tests.cli.helpers import assert_refused, pretrain_arguments, run
from tests.training.test_card import entries


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Return a file of 150,000 characters in documents of about 60 words (Path)."""
    rng = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(rng.choice(syllables, rng.integers(1, 4))) for _ in range(1500)]
    frequency = 1 / np.arange(3, len(words) + 3)
    drawn = rng.choice(words, 27_000, p=frequency / frequency.sum())
    lines = [" ".join(drawn[i : i + 20]) for i in range(0, len(drawn), 20)]
    documents = ["\n".join(lines[i : i + 3]) for i in range(0, len(lines), 3)]
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(documents) + "\n", "utf-8")
    return path


@pytest.fixture
def slow_machine(monkeypatch):
    """A machine on which a step takes 2,000 s; return the measurements."""
    asked = []

    def measured(model, objective, settings, threads, ranks, limit):
        asked.append((model.config.hidden_size, objective.rows.length, settings.batch_size))
        return 2000.0

    monkeypatch.setattr("minibert.cli.pretrain_plan.step_seconds", measured)
    return asked


def choosing(text, out, *more):
    """Return the arguments of a run of two steps of 2,000 s (list)."""
    return ["pretrain", text, "--minutes", 99, "--warmup", 0, "--out", out, *more]


def never(*arguments, **options):
    raise AssertionError("measured, learned or chosen again")


def forbid_choices(patch):
    for name in ("pretrain_plan.step_seconds", "pretrain_plan.choose",
                 "pretrain_budget.learn_tokenizer", "pretrain.initialize_from_text"):  # fmt: skip
        patch.setattr(f"minibert.cli.{name}", never)


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """Return the folder of an uninterrupted run in which all was chosen, and what it printed."""
    folder, printed = tmp_path_factory.mktemp("chosen") / "model", io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minibert.cli.pretrain_plan.step_seconds", lambda *_: 2000.0)
        patch.setattr("sys.stdout", printed)
        assert run(choosing(text, folder)) == 0
    return folder, printed.getvalue()


def test_pretrain_chooses_what_no_option_states_and_says_why(whole):
    folder, printed = whole
    model = BertForMaskedLM.from_pretrained(folder)
    tokenizer = WordPieceTokenizer.from_pretrained(folder)
    assert (model.config.hidden_size, model.config.max_position_embeddings) == (128, 32)
    assert model.config.vocab_size == len(tokenizer) == 1000
    lines = printed.splitlines()
    assert lines[0].startswith("vocabulary: 1,000 pieces, learned from the text; ")
    assert lines[1].startswith("size: tiny; mini needs a text of ")
    assert lines[2].startswith("length: 32 tokens; ")
    assert lines[3].startswith("batch: 64 sequences; there is time for ")
    assert any(line.startswith("99 minutes are 2 steps of 2e+03 s, after ") for line in lines)
    settings = read_state(folder)["settings"]
    assert (settings["steps"], settings["batch_size"]) == (2, 64)
    card = (folder / "README.md").read_text("utf-8")
    assert is_generated(card)
    assert entries(card)["chosen"] == settings["chosen"] == (
        "size tiny, length 32, batch size 64, a vocabulary of 1,000 learned from the text, "
        "2 steps for 99 minutes"
    )  # fmt: skip


@pytest.mark.parametrize("step", [0, 1])
def test_a_resumed_run_is_the_same_and_chooses_nothing(whole, text, tmp_path, monkeypatch, step):
    """Even one that was killed in its first step."""
    right = Engine.step

    def killed(engine, shards, rate):
        if engine.optimizer.step == step:
            raise MemoryError
        return right(engine, shards, rate)

    arguments = [*choosing(text, tmp_path / "model"), "--save-every", 1]
    with monkeypatch.context() as patch:
        patch.setattr("minibert.cli.pretrain_plan.step_seconds", lambda *_: 2000.0)
        patch.setattr(Engine, "step", killed)
        assert run(arguments) == 1
    assert WordPieceTokenizer.from_pretrained(tmp_path / "model" / f"checkpoint-{step}").vocab
    with monkeypatch.context() as patch:
        forbid_choices(patch)
        assert run([*arguments, "--resume"]) == 0
        assert run([*arguments, "--resume"]) == 0  # finished
    for name in ("model.safetensors", "vocab.txt", "README.md", "config.json"):
        assert (tmp_path / "model" / name).read_bytes() == (whole[0] / name).read_bytes()
    steps = [line["step"] for line in read_history(tmp_path / "model") if "loss" in line]
    assert steps == [1, 2]


def test_the_card_of_an_extended_run_states_its_own_steps(whole, text, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "model")
    arguments = ["pretrain", text, "--warmup", 0, "--out", folder, "--resume", "--steps", 3]
    assert run(arguments) == 0
    found = entries((folder / "README.md").read_text("utf-8"))
    assert found["steps"] == "3"
    assert found["chosen"] == (
        "size tiny, length 32, batch size 64, a vocabulary of 1,000 learned from the text"
    )
    assert read_state(folder)["settings"]["chosen"] == found["chosen"]
    assert run(arguments) == 0  # nothing is left to train


def test_resume_refuses_other_sizes_than_the_chosen_ones(whole, text, capsys):
    folder, _ = whole
    for option, message in (
        (["--size", "mini"], "hidden_size: the run in"),
        (["--length", 16], "max_position_embeddings: the run in"),
        (["--batch-size", 32], "batch_size: the run in"),
        (["--vocab-size", 999], f"vocab_size: the run in {folder} has 1000, got 999"),
    ):
        assert_refused(capsys, [*choosing(text, folder), "--resume", *option], message)
    stated = ["--size", "tiny", "--length", 32, "--batch-size", 64, "--vocab-size", 1000]
    assert run([*choosing(text, folder), "--resume", *stated]) == 0


@pytest.mark.parametrize(
    ("option", "width", "length", "batch_size", "vocabulary"),
    [
        (["--size", "mini"], 256, 32, 64, 1000),
        (["--length", 128], 128, 128, 16, 1000),
        (["--length", 9], 128, 9, 64, 1000),
        (["--batch-size", 5], 128, 32, 5, 1000),
        (["--vocab-size", 120], 128, 32, 64, 120),
        (["--tokenizer", "tokenizer"], 128, 32, 64, None),
    ],
)
def test_each_choice_can_be_overruled(
    text, workspace, tmp_path, monkeypatch, slow_machine, capsys,
    option, width, length, batch_size, vocabulary,
):  # fmt: skip
    seen = []

    def stop(model, objective, settings, tokenizer, **_):
        seen.append((model.config, settings, tokenizer))
        raise MemoryError

    monkeypatch.setattr("minibert.cli.pretrain.pretrain", stop)
    option = [workspace / word if word == "tokenizer" else word for word in option]
    assert run(choosing(text, tmp_path / "model", *option)) == 1
    ((config, settings, tokenizer),) = seen
    assert (config.hidden_size, config.max_position_embeddings) == (width, length)
    assert settings.batch_size == batch_size
    assert slow_machine == [(width, length, batch_size)]
    assert config.vocab_size == len(tokenizer)
    printed = capsys.readouterr().out
    name = option[0].strip("-").replace("batch-size", "batch")
    assert f"{name}: " not in printed
    if vocabulary is None:
        assert tokenizer.vocab == WordPieceTokenizer.from_pretrained(option[1]).vocab
        assert "vocabulary" not in settings.chosen + printed
    else:
        assert len(tokenizer) == vocabulary
        assert f"a vocabulary of {vocabulary:,} learned" in settings.chosen


def test_with_steps_nothing_is_measured_and_a_vocabulary_is_learned(
    workspace, tmp_path, monkeypatch, capsys
):
    arguments = pretrain_arguments(workspace, tmp_path / "model", "--vocab-size", 60)
    at = arguments.index("--tokenizer")
    del arguments[at : at + 2]
    with monkeypatch.context() as patch:
        patch.setattr("minibert.cli.pretrain_plan.step_seconds", never)
        assert run(arguments) == 0
    assert len(WordPieceTokenizer.from_pretrained(tmp_path / "model")) == 60
    settings = PreTraining(**read_state(tmp_path / "model")["settings"])
    assert settings.chosen == "a vocabulary of 60 learned from the text"
    assert "size: " not in capsys.readouterr().out
    with monkeypatch.context() as patch:
        forbid_choices(patch)
        assert run([*arguments, "--resume"]) == 0


def test_minutes_too_many_for_a_text_cause_a_warning(workspace, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("minibert.cli.pretrain_plan.step_seconds", lambda *_: 0.001)
    monkeypatch.setattr("minibert.cli.pretrain.pretrain", never)
    arguments = ["pretrain", workspace / "corpus.txt", "--tokenizer", workspace / "tokenizer",
                 "--size", "tiny", "--minutes", 10, "--out", tmp_path / "model"]  # fmt: skip
    assert run(arguments) == 1
    assert "times through the text; fewer steps or more text would do more" in (
        capsys.readouterr().out
    )


def test_bad_input_is_refused_in_one_line_and_nothing_is_left(
    workspace, text, tmp_path, monkeypatch, slow_machine, capsys
):
    short, out = workspace / "corpus.txt", tmp_path / "deep" / "model"
    tokenizer = ["--tokenizer", workspace / "tokenizer"]
    for files, more, message in (
        (text, ["--vocab-size", 500, *tokenizer], "--vocab-size: leave it out; "),
        (text, ["--vocab-size", 10**6], f"{text}: vocab_size: expected at most "),
        (text, ["--vocab-size", 3], f"{text}: vocab_size: expected at least "),
        (short, [], f"{short}: expected at least 100,000 characters to learn a vocabulary from, "),
        ("-", [], "standard input: expected a file"),
        (tmp_path / "none.txt", [], f"{tmp_path / 'none.txt'}: no such file"),
        (text, ["--minutes", 0], "minutes: expected more than 0, got 0"),
        (text, ["--minutes", "nan"], "minutes: expected more than 0, got nan"),
        (text, ["--minutes", "inf"], "minutes: expected more than 0, got inf"),
        # Before a vocabulary is learned.
        (short, ["--batch-size", 0], "batch_size: expected at least 1, got 0"),
        (short, ["--length", 2], "length: expected at least 3"),
        (short, ["--learning-rate", 0], "learning_rate: expected more than 0, got 0"),
    ):
        assert_refused(capsys, choosing(files, out, *more), message)
    assert slow_machine == []
    # Too little for one step, and for a step of the warm-up, of which 3 % are 1 step of 34.
    for minutes, warmup, steps in ((33, 0, 1), (99, 0.03, 34), (1e-9, 0.03, 34)):
        more = [*tokenizer, "--minutes", minutes, "--warmup", warmup]
        least = f"at least {steps} of 2e+03 s are needed"
        refused = f"this machine, got {minutes:g}; the first step begins after "
        assert_refused(capsys, choosing(short, out, *more), refused, least)
    assert list(tmp_path.iterdir()) == []
    kept = {path: path.read_bytes() for path in workspace.joinpath("model").glob("*.*")}
    assert_refused(capsys, choosing(text, workspace / "model"), "exists already")
    assert {path: path.read_bytes() for path in workspace.joinpath("model").glob("*.*")} == kept
    assert not (workspace / "model" / ".lock").exists()


def test_the_least_minutes_that_an_error_names_are_enough(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(pretrain_budget.time, "perf_counter", lambda: now.seconds)
    settings = PreTraining(steps=1, warmup=0.03)
    budget = Budget(0.5)
    now.seconds += 6.0
    assert budget.left() == 24
    with pytest.raises(ValueError, match=r"at least 0\.67 for .*, got 0\.5; .* after 6\.0 s, and"):
        budget.fill(settings, 1.0, 0)
    budget.minutes = 0.67
    assert budget.fill(settings, 1.0, 0).steps == 34
    now.seconds -= 6.0
    assert budget.fill(settings, 1.0, 10**6).steps == 40  # no evaluation but the last


def test_a_vocabulary_has_the_pieces_that_occur_often_enough(text):
    sizes = [len(learn_tokenizer([text], None, read)) for read in (1e9, 1e3)]
    assert sizes == [1000, 1000]  # the fewest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain_budget, "MIN_PIECES", 50)
        sizes = [len(learn_tokenizer([text], None, read)) for read in (1e9, 2e4, 1e4)]
        assert 1000 > sizes[0] > sizes[1] > sizes[2] > 50
        sampled = learn_tokenizer([text], None, 1e9, sample=75_000)
    assert len(sampled) == pytest.approx(sizes[0], rel=0.1)


def test_a_vocabulary_is_learned_from_more_text_in_more_time():
    assert [sample_in(Budget(minutes)) for minutes in (0.1, 2, 100)] == [
        10**6,
        4 * 10**6,
        2 * 10**7,
    ]
    assert sample_in(None) == 2 * 10**7
