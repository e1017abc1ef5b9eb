"""`benchmarks.recipe`: equal seconds, equal masks, and a contest that resumes where it stopped."""

import json
import math
import pickle
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from benchmarks import recipe, texts
from benchmarks.recipe import CANDIDATES, VARIANTS, Contest, standings
from benchmarks.recipe_worker import Candidate, Text, bits_per_character, run
from benchmarks.records import Records
from minibert.data.builtin.docstrings import Document
from minibert.functional import IGNORED
from minibert.training.defaults import fresh_config
from minibert.training.recipes import RECIPES

WORDS = "the a red blue bird fish sees eats some small large old tree house in under".split()
WHAT, ABOUT = {"steps": 3, "recipe": {"rate": 0.1}}, {"others": 0.25, "machine": "m"}


@pytest.fixture
def text(tmp_path, monkeypatch):
    """A text of sentences in which each word determines the next one, with labelled texts."""
    monkeypatch.setattr(texts, "FOLDER", tmp_path / "made")
    rng, folder = np.random.default_rng(0), tmp_path / "text"
    (folder / "labelled").mkdir(parents=True)

    def documents(count):
        starts = rng.integers(len(WORDS), size=(count, 3))
        return "\n\n".join(
            "\n".join(" ".join(np.roll(WORDS, -start)[:12]) + "." for start in row)
            for row in starts
        )

    (folder / "train.txt").write_text(documents(60) + "\n")
    (folder / "held_out.txt").write_text(documents(10) + "\n")
    for split in ("train", "test"):
        lines = [f"{label}\t{word} of {label}" for label in ("one", "two") for word in WORDS[:6]]
        rows = "label\ttext\n" + "\n".join(lines) + "\n"
        (folder / "labelled" / f"{split}.tsv").write_text(rows)
    return Text(folder, 60)


# The figures.


def test_bits_per_character_by_hand():
    # Two bits a token, five tokens, twenty characters.
    assert bits_per_character(2 * math.log(2), 5, 20) == pytest.approx(0.5)


def test_tokens_and_characters_are_those_of_the_held_out_documents(text):
    tokens, characters = text.tokens_and_characters()
    lines = (text.folder / "held_out.txt").read_text().split("\n")
    assert characters == sum(map(len, lines))
    # [SEP] at the end of a document is not counted.
    assert tokens == sum(len(text.tokenizer.ids_of(line)) for line in lines if line)


def test_evaluation_is_equal_for_every_length_of_a_recipe(text):
    ids, labels = text.masked()
    again, _ = Text(text.folder, 60).masked()
    assert np.array_equal(ids, again)
    assert ids.shape[1] == 32
    assert (ids != text.tokenizer.pad_token_id).all()
    assert (labels != IGNORED).mean() == pytest.approx(0.15 * 30 / 32, abs=0.02)


def test_text_is_sent_to_a_process_without_its_ids(text):
    assert len(text.corpus.train.stream) > 1000
    sent = pickle.dumps(text)
    assert len(sent) < 1000
    assert pickle.loads(sent).names == text.names


def test_rows_have_no_padding_and_lose_less_than_a_sequence(text):
    stream = text.corpus.train.stream
    for length in (7, 32):
        rows = text.rows("train", length)
        everything = rows[np.arange(len(rows))]
        assert (everything != text.tokenizer.pad_token_id).all()
        kept = everything[:, 1:-1].ravel()
        assert np.array_equal(kept, stream[: len(kept)])
        assert len(stream) - 1 - len(kept) < length - 2


def test_standings_compare_equal_seeds_and_begin_with_the_best():
    def figures(loss):
        return {"loss": loss, "bits": 1.0, "accuracy": 0.5, "classifier": 0.5}

    losses = {"2": {0: 3.0, 1: 3.5}, "1": {0: 4.0, 1: 4.25}, "linear": {1: 3.125}, "adamw": {}}
    found = {
        (name, "tiny"): {seed: figures(loss) for seed, loss in seeds.items()}
        for name, seeds in losses.items()
    }
    found["2", "mini"] = {0: figures(1.0)}
    rows = standings("tiny", found, dict.fromkeys(found, 10))
    assert [row[1] for row in rows] == ["linear", "2", "1"]
    by_name = {row[1]: row for row in rows}
    assert by_name["2"][5:7] == ("-0.875 (-1.000 to -0.750)", "")
    assert by_name["linear"][5:7] == ("-1.125 (-1.125 to -1.125)", "-0.375 (-0.375 to -0.375)")


# The candidates.


def test_candidates_differ_from_recipe_2_and_make_settings(text):
    config = fresh_config("tiny", text.tokenizer, 32)
    for name, candidate in CANDIDATES.items():
        assert candidate.recipe.settings(config, 10, **candidate.settings).steps == 10, name
        if name in VARIANTS:
            assert candidate.recipe != RECIPES["2"], name
    assert len({repr(replace(each.recipe, name="")) + each.side for each in CANDIDATES.values()}
               ) == len(CANDIDATES)  # fmt: skip


def test_run_trains_each_kind_of_candidate_and_evaluates_it(text):
    for name in ("2", "masked-30-to-15", "length-64"):
        job = run(CANDIDATES[name], "tiny", text, 1, 2, 0, 4)
        next(job)
        figures = next(job)
        assert 0 < figures["loss"] < math.log(60) + 1
        assert figures["bits"] == bits_per_character(figures["loss"], *text.tokens_and_characters())
        assert 0 <= figures["classifier"] <= 1


def test_run_of_a_recipe_that_diverges_has_an_infinite_loss(text):
    hot = replace(RECIPES["1"], rate_times_width=1e30)
    job = run(Candidate(hot), "tiny", text, 1, 4, 0, 4)
    next(job)
    assert next(job)["loss"] == math.inf


@pytest.mark.parity
@pytest.mark.parametrize(("name", "tolerance"), [("1", 1e-6), ("2", 1e-3)])
def test_peer_trains_as_minibert_does(name, tolerance, text):
    """PyTorch orthogonalizes in bfloat16, so Muon's updates differ in their third digit."""
    pytest.importorskip("torch")
    losses = []
    for candidate in (CANDIDATES[name], CANDIDATES[f"pytorch-{name}"]):
        job = run(candidate, "tiny", text, 1, 15, 0, 4)
        next(job)
        losses.append(next(job)["loss"])
    job = run(CANDIDATES[name], "tiny", text, 1, 1, 0, 4)
    next(job)
    assert next(job)["loss"] - losses[0] > 0.2  # both have learned
    assert losses[0] == pytest.approx(losses[1], abs=tolerance)


# The file of results.


def test_records_are_found_again(tmp_path):
    path = tmp_path / "runs.jsonl"
    Records(path).add(WHAT, {"loss": math.inf}, ABOUT)
    Records(path).add({**WHAT, "steps": 4}, {"loss": 2.5}, ABOUT)
    found = Records(path)
    assert found.get(dict(reversed(WHAT.items())))["found"] == {"loss": math.inf}
    assert found.get({**WHAT, "steps": 4})["about"] == ABOUT
    assert found.get({**WHAT, "steps": 5}) is None


def test_records_ignore_and_replace_the_line_of_a_killed_process(tmp_path):
    path = tmp_path / "runs.jsonl"
    Records(path).add(WHAT, {"loss": 1.0}, ABOUT)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-10])
    records = Records(path)
    assert len(records.lines) == 1
    records.add({"steps": 9}, {"loss": 2.0}, ABOUT)
    assert path.read_bytes().startswith(whole)
    lines = path.read_text().splitlines()
    assert [json.loads(line)["found"]["loss"] for line in lines] == [1.0, 2.0]


@pytest.mark.parametrize("line", ["{", "[1]", '{"what": {}}', ""])
def test_records_refuse_a_damaged_line_and_name_it(line, tmp_path):
    path = tmp_path / "runs.jsonl"
    Records(path).add(WHAT, {"loss": 1.0}, ABOUT)
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=r"runs\.jsonl:2: expected a JSON object with about, fou"):
        Records(path)


# The contest.


class FakeWorker:
    """Counts its jobs, and returns what `answers` says for a job's name."""

    answers: ClassVar = {"time_step": 0.5, "time_initialization": 20.0}
    jobs: ClassVar = []
    stop_after = 99

    def __init__(self, job, *arguments):
        if len(self.jobs) >= self.stop_after:
            raise KeyboardInterrupt
        self.job, self.others = job, 0.25 if job is run else 0.5
        self.jobs.append((job.__name__, *arguments))

    def round(self):
        if self.job is run:
            _, candidate, size, _, _, steps, seed, _ = self.jobs[-1]
            loss = 5 - steps / 1000 + seed / 10 + len(size) + candidate.recipe.warmup
            return {"loss": loss, "bits": 2.0, "accuracy": 0.5, "classifier": 0.25, "seconds": 1}
        return self.answers[self.job.__name__]

    def close(self):
        pass


@pytest.fixture
def worker(monkeypatch):
    """Replace the processes that train."""
    monkeypatch.setattr(recipe, "Worker", FakeWorker)
    monkeypatch.setattr(recipe, "machine", lambda: "machine A, commit B")
    monkeypatch.setattr(FakeWorker, "jobs", [])
    return FakeWorker


@pytest.fixture
def contest(text, tmp_path, worker):
    return Contest(text, Records(tmp_path / "runs.jsonl"), threads=1)


def test_minutes_become_steps_without_the_time_of_the_initialization(contest):
    assert contest.steps("2", "tiny", 2) == (120 - 20) / 0.5
    assert contest.steps("1", "tiny", 2) == 120 / 0.5
    assert contest.steps("2", "tiny", 0.01) == 1


def test_time_of_a_busy_machine_is_pointed_out_when_it_is_measured(contest, capsys):
    for expected in (True, False):  # the second time it is stored
        contest.steps("1", "tiny", 2)
        assert ("used 50% of the machine; remove its line" in capsys.readouterr().err) is expected
    contest.result("1", "tiny", 2, 0)
    assert "of the machine" not in capsys.readouterr().err


def test_candidates_whose_steps_cost_the_same_share_a_measurement(contest, worker):
    for name in ("2", "linear", "double-rate", "warmup-10", "no-decay", "beta2-999"):
        assert contest.steps(name, "tiny", 2) == 200
    assert [job[0] for job in worker.jobs] == ["time_step", "time_initialization"]
    for number, name in enumerate(("adamw", "batch-32", "masked-40", "masked-30-to-15"), 3):
        contest.steps(name, "tiny", 2)
        assert len(worker.jobs) == number
    timed = worker.jobs[-1][1].recipe  # the mean of a share that changes
    assert timed.masked_share == timed.last_masked_share == pytest.approx(0.225)
    contest.steps("pytorch-2", "tiny", 2)
    assert worker.jobs[-1][0] == "time_step"


def test_results_are_not_shared_between_recipes_sizes_steps_seeds_and_texts(contest, worker):
    contest.result("2", "tiny", 5, 0)
    others = [("1", "tiny", 5, 0), ("2", "mini", 5, 0), ("2", "tiny", 6, 0), ("2", "tiny", 5, 1)]
    for count, changes in enumerate([*others, ("pytorch-2", "tiny", 5, 0)], 2):
        contest.result(*changes)
        assert len(worker.jobs) == count
    contest.result("2", "tiny", 5, 0)
    assert len(worker.jobs) == 6
    with (contest.text.folder / "train.txt").open("a") as file:
        file.write("\none more bird\n")
    contest.text = Text(contest.text.folder, 60)
    contest.result("2", "tiny", 5, 0)
    assert len(worker.jobs) == 7


def command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["recipe", *map(str, words)])
    recipe.main()


def test_contest_resumes_where_it_stopped(text, tmp_path, worker, monkeypatch, capsys):
    monkeypatch.setattr(recipe, "named_text", lambda name: text.folder)
    runs = ("--vocabulary", 60, "--runs", tmp_path / "runs.jsonl", "--candidates", "2", "1")
    monkeypatch.setattr(worker, "stop_after", 5)  # three times, and two of four runs
    with pytest.raises(KeyboardInterrupt):
        command(monkeypatch, *runs)
    assert [job[0] for job in worker.jobs] == [
        "time_step", "time_initialization", "time_step", "run", "run"
    ]  # fmt: skip
    monkeypatch.setattr(worker, "stop_after", 7)
    command(monkeypatch, *runs)
    assert [job[-2] for job in worker.jobs[3:]] == [0, 0, 1, 1]  # the seeds
    first = capsys.readouterr().out
    command(monkeypatch, *runs)
    assert capsys.readouterr().out == first
    assert len(worker.jobs) == 7
    assert "| tiny | 2 | 200 | 2 |" in first
    assert "Other processes used 50% (50% to 50%)" in first  # while times were measured
    assert "- machine A, commit B" in first


def test_report_measures_nothing(text, tmp_path, worker, monkeypatch, capsys):
    monkeypatch.setattr(recipe, "named_text", lambda name: text.folder)
    runs = ("--vocabulary", 60, "--runs", tmp_path / "runs.jsonl", "--steps", 3)
    command(monkeypatch, *runs, "--candidates", "linear", "--seeds", 1)
    assert len(worker.jobs) == 1
    capsys.readouterr()
    command(monkeypatch, *runs, "--report")
    assert len(worker.jobs) == 1
    out = capsys.readouterr().out
    assert "| tiny | linear | 3 | 1 |" in out
    assert "Other processes used 25%" in out
    assert "cosine" not in out


def test_built_in_corpus_is_refused_beyond_four_minutes(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        command(monkeypatch, "--text", "builtin", "--minutes", 5)
    assert "--minutes: expected at most 4 with the built-in corpus" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text", "nowhere.txt"], "--text: expected a file, documentation or builtin, got now"),
        (["--seeds", "0"], "--seeds: expected more than 0, got 0"),
        (["--minutes", "-1"], "--minutes: expected more than 0, got -1"),
        (["--steps", "0"], "--steps: expected more than 0, got 0"),
        (["--sizes", "huge"], "argument --sizes: invalid choice: 'huge'"),
    ],
)
def test_options_out_of_range_are_refused(words, message, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        command(monkeypatch, *words)
    assert message in capsys.readouterr().err


def test_damaged_file_of_results_ends_the_script_in_one_line(text, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "named_text", lambda name: text.folder)
    (tmp_path / "runs.jsonl").write_text("{\n")
    with pytest.raises(SystemExit, match=r"^\S+runs\.jsonl:1: expected a JSON object"):
        command(monkeypatch, "--runs", tmp_path / "runs.jsonl")


# The texts.


def test_file_is_divided_by_the_checksums_of_its_documents(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "FOLDER", tmp_path / "made")
    documents = [f"Document {i}.\nIts end." for i in range(400)]
    sides = []
    for order in (documents, documents[::-1]):
        (tmp_path / "a.txt").write_text("\n\n".join(order))
        folder = texts.of_file(tmp_path / "a.txt")
        train, held_out = (
            set((folder / f"{name}.txt").read_text().strip().split("\n\n"))
            for name in ("train", "held_out")
        )
        assert train | held_out == set(documents)
        assert not train & held_out
        assert 5 <= len(held_out) <= 40
        sides.append((train, held_out))
    assert sides[0] == sides[1]


def test_file_of_one_document_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "FOLDER", tmp_path / "made")
    (tmp_path / "a.txt").write_text("One text.\n\n")
    with pytest.raises(SystemExit, match=r"a\.txt: expected some dozen documents, got 1"):
        texts.of_file(tmp_path / "a.txt")
    assert not list((tmp_path / "made").iterdir())


def test_smallest_checksums_depend_on_the_documents_alone():
    documents = [Document("m", f"m.{i}", (f"text {i}", "x" * 97)) for i in range(200)]
    chosen = texts.smallest_checksums(documents, 0.005)
    size = sum(len(part) + 1 for each in chosen for part in each.paragraphs)
    assert 5000 <= size < 5110
    assert texts.smallest_checksums(documents[::-1], 0.005) == chosen
    more = texts.smallest_checksums(documents, 0.01)
    assert more[: len(chosen)] == chosen
    with pytest.raises(SystemExit, match="expected at least 1 MB of documentation"):
        texts.smallest_checksums(documents, 1)


def test_installed_documents_leave_minibert_out(tmp_path, monkeypatch):
    for name in ("minibert", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    roots = []
    monkeypatch.setattr(texts, "read_documents", roots.extend)
    paths = {"purelib": tmp_path, "stdlib": tmp_path / "lib"}
    monkeypatch.setattr(texts, "sysconfig", SimpleNamespace(get_paths=lambda: paths))
    texts.installed_documents()
    assert roots == [("", tmp_path / "lib"), ("other", tmp_path / "other")]
