"""Full disks, unwritable folders, missing files, simultaneous runs, and many threads."""

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    FeatureExtractor,
    TextClassifier,
    WordPieceTokenizer,
)
from minibert.cli import main
from minibert.data.tables import write_tsv
from minibert.data.token_cache import tokenize_corpus
from minibert.io import locks
from minibert.io.atomic import TEMPORARY, atomic_dir, atomic_remove, atomic_write, unused_name
from minibert.io.locks import run_lock
from minibert.training import AdamW, Settings, loop
from minibert.training.checkpoint import checkpoints, restore_optimizer, save_checkpoint
from tests.conftest import small_tokenizer

try:
    import resource
except ImportError:  # Windows
    resource = None

SENTENCES = ["the cat sat on the mat", "a dog ran under the tree", "then it was red and big"]
LARGE = BertConfig.preset("tiny", vocab_size=1000, max_position_embeddings=64)


@pytest.fixture(scope="module")
def room(tmp_path_factory, tokenizer):
    """A folder with a corpus, labelled texts, a tokenizer and a model."""
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        (folder / "corpus.txt").write_text(
            "\n\n".join(f"{text} {i}" for i in range(40) for text in SENTENCES) + "\n", "utf-8"
        )
        rows = [[str(i % 2), SENTENCES[i % 2]] for i in range(20)]
        write_tsv(folder / "rows.tsv", ["label", "text"], rows)
        tokenizer.save_pretrained(folder / "tokenizer")
        config = BertConfig.preset(
            "tiny", vocab_size=len(tokenizer), hidden_size=64, max_position_embeddings=16
        )
        BertForSequenceClassification(config).save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        yield folder


def pretrain(room, out, *more):
    return ["pretrain", room / "corpus.txt", "--tokenizer", room / "tokenizer", "--length", 16,
            "--steps", 6, "--batch-size", 4, "--save-every", 2, "--threads", 1,
            "--out", out, *more]  # fmt: skip


def run(arguments):
    return main([str(argument) for argument in arguments])


def one_line(capsys):
    error = capsys.readouterr().err
    assert error.startswith("minibert: ")
    assert len(error.splitlines()) == 1, error
    return error


def content(folder):
    """Return the content of all files in a folder by name, hidden files included (dict)."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


@contextlib.contextmanager
def full_after(size):
    """Limit the size of all files of this process in bytes, which simulates a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def save_model(folder, version):
    BertForMaskedLM(LARGE, seed=version).save_pretrained(folder)


def save_tokenizer(folder, version):
    pieces = [*small_tokenizer().vocab, *(f"word{version}{i}" for i in range(3000))]
    WordPieceTokenizer(pieces).save_pretrained(folder)


def save_rows(folder, version):
    write_tsv(folder / "rows.tsv", ["text"], [[f"text {version} {i}"] for i in range(9000)])


WRITERS = {"model": save_model, "tokenizer": save_tokenizer, "rows": save_rows}


limited = pytest.mark.skipif(resource is None, reason="the system sets no such limits")


@limited
@pytest.mark.parametrize("size", [0, 100, 20_000])
@pytest.mark.parametrize("name", WRITERS)
def test_full_disk_leaves_the_old_file_and_no_temporary_file(name, size, tmp_path):
    write = WRITERS[name]
    write(tmp_path, 0)
    before = content(tmp_path)
    with full_after(size), pytest.raises(OSError, match="File too large") as caught:
        write(tmp_path, 1)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert content(tmp_path) == before
    write(tmp_path, 1)
    assert content(tmp_path) != before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("form", ["jsonl", "csv", "npy"])
def test_embed_on_a_full_disk_leaves_the_old_file(room, form, tmp_path, capsys, monkeypatch):
    out = tmp_path / f"vectors.{form}"
    out.write_text("old")

    @contextlib.contextmanager
    def on_a_full_disk(path):
        with atomic_write(path) as temporary:
            temporary.unlink()
            temporary.symlink_to("/dev/full")
            yield temporary

    monkeypatch.setattr("minibert.cli.embed.output_file", on_a_full_disk)
    assert run(["embed", room / "model", "a cat", "--out", out]) == 1
    assert "No space left on device" in one_line(capsys)
    assert content(tmp_path) == {out.name: b"old"}


@limited
def test_save_checkpoint_on_a_full_disk_leaves_earlier_checkpoints(tmp_path, tokenizer):
    model = BertForMaskedLM(LARGE)
    optimizer = AdamW(model.params)
    save_checkpoint(tmp_path, model, tokenizer, optimizer, Settings(steps=9))
    before = content(tmp_path)
    optimizer.step = 1
    for size in 100, 1_000_000, 2_000_000:  # smaller than config, weights and moments, in turn
        with full_after(size), pytest.raises(OSError, match="File too large"):
            save_checkpoint(tmp_path, model, tokenizer, optimizer, Settings(steps=9))
        assert content(tmp_path) == before


@limited
def test_tokenize_corpus_on_a_full_disk_keeps_tokens_in_memory(room, tmp_path, tokenizer, caplog):
    text = tmp_path / "text.txt"
    text.write_text((room / "corpus.txt").read_text("utf-8") * 50, "utf-8")
    with full_after(50_000):
        found = tokenize_corpus([text], tokenizer, folder=tmp_path / "tokens")
    assert list((tmp_path / "tokens").iterdir()) == []
    (message,) = caplog.messages
    assert re.search(r"File too large.*tokens-.*; they are kept in memory", message)
    whole = tokenize_corpus([text], tokenizer, folder=tmp_path / "tokens")
    assert (found.train.stream == whole.train.stream).all()


@pytest.mark.slow
def test_run_that_ended_on_a_full_disk_can_be_resumed(room, tmp_path, capsys):
    assert run(pretrain(room, tmp_path / "whole")) == 0
    capsys.readouterr()
    right, calls = loop.save_checkpoint, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")
        return right(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", full)
        assert run(pretrain(room, tmp_path / "out")) == 1
    assert "No space left on device" in one_line(capsys)
    assert [path.name for path in checkpoints(tmp_path / "out")] == ["checkpoint-2"]
    assert run(pretrain(room, tmp_path / "out", "--resume")) == 0
    found, whole = (content(tmp_path / name) for name in ("out", "whole"))
    assert found["model.safetensors"] == whole["model.safetensors"]


@pytest.mark.slow
def test_full_disk_while_the_best_seed_is_copied_leaves_no_partial_file(room, tmp_path, capsys):
    def half(path, to):
        Path(to).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    finetune = ["finetune", room / "rows.tsv", "--dev", room / "rows.tsv", "--model",
                room / "model", "--epochs", 1, "--seeds", 2, "--out", tmp_path / "out"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minibert.cli.finetune.shutil.copy", half)
        assert run(finetune) == 1
    assert "No space left on device" in one_line(capsys)
    assert sorted(content(tmp_path)) == sorted(
        f"out/{path}" for path in content(tmp_path / "out") if path.startswith("seed-")
    )
    assert run([*finetune, "--resume"]) == 0
    BertForSequenceClassification.from_pretrained(tmp_path / "out", strict=True)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_commands_refuse_an_unwritable_folder_before_the_work(
    room, tmp_path, capsys, monkeypatch, code
):
    def refuse(path, *arguments, **options):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr("os.mkdir", refuse)
    monkeypatch.setattr("minibert.cli.pretrain.tokenize_corpus", lambda *_: 1 / 0)
    assert run(pretrain(room, tmp_path / "out")) == 2
    assert os.strerror(code) in one_line(capsys)
    assert content(tmp_path) == {}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name")
def test_commands_refuse_pipes_and_devices(room, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "device.txt").symlink_to("/dev/zero")
    before = content(tmp_path)
    for path in tmp_path / "pipe.txt", tmp_path / "device.txt":
        out = ["--out", tmp_path / "out"]
        for arguments in (
            ["pretrain", path, "--tokenizer", room / "tokenizer", *out],
            ["train-tokenizer", path, *out],
            ["tokenize", room / "tokenizer", "--file", path],
        ):
            assert run(arguments) == 2
            assert f"{path}: expected a text file, found a pipe or a device" in one_line(capsys)
    assert content(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name")
def test_restore_optimizer_refuses_a_pipe(tmp_path):
    optimizer = AdamW(BertForMaskedLM(LARGE).params)
    os.mkfifo(tmp_path / "optimizer.safetensors")
    with pytest.raises(OSError, match=r"optimizer\.safetensors: expected a file, found a pipe"):
        restore_optimizer(tmp_path, optimizer)


def test_closed_standard_input_has_no_lines(room, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    for arguments in (
        ["tokenize", room / "tokenizer"],
        ["pretrain", "-", "--tokenizer", room / "tokenizer", "--out", tmp_path / "out"],
    ):
        assert run(arguments) == 2
        assert "standard input: expected lines of text, got none" in one_line(capsys)
    assert content(tmp_path) == {}


def test_sigterm_clears_away_what_is_half_made(room, tmp_path, capsys, monkeypatch):
    def killed(path, *arguments):
        path.write_text("half")
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("minibert.cli.embed._write_npy", killed)
    assert run(["embed", room / "model", "a cat", "--out", tmp_path / "vectors.npy"]) == 130
    assert one_line(capsys) == "minibert: stopped\n"
    assert content(tmp_path) == {}
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_where_the_folder_should_be_is_named(name, tmp_path):
    place = tmp_path / "file"
    place.write_text("mine")
    with pytest.raises(OSError, match="file") as caught:
        WRITERS[name](place, 0)
    assert "\n" not in str(caught.value)
    assert content(tmp_path) == {"file": b"mine"}


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
@pytest.mark.parametrize("target", ["out", "nowhere"])
def test_a_link_that_leads_nowhere_is_refused_before_the_work(room, tmp_path, capsys, target):
    (tmp_path / "out").symlink_to(tmp_path / target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WordPieceTokenizer, "train", lambda *_, **__: 1 / 0)
        assert run(["train-tokenizer", room / "corpus.txt", "--out", tmp_path / "out"]) == 2
    assert f"{tmp_path / 'out'}: exists already" in one_line(capsys)


@pytest.mark.slow
def test_what_is_lost_while_a_run_goes_on_does_not_stop_it(room, tmp_path, capsys, monkeypatch):
    """The run continues without checkpoints, corpus, tokenizer and tokens."""
    assert run(pretrain(room, tmp_path / "whole")) == 0
    own = tmp_path / "own"
    shutil.copytree(room / "tokenizer", own / "tokenizer")
    shutil.copy(room / "corpus.txt", own / "corpus.txt")
    monkeypatch.setenv("XDG_CACHE_HOME", str(own / "cache"))
    right = loop.save_checkpoint

    def losing(*arguments):
        folder = right(*arguments)
        if folder.name == "checkpoint-2":
            shutil.rmtree(folder)
            shutil.rmtree(own)
        return folder

    monkeypatch.setattr(loop, "save_checkpoint", losing)
    assert run(pretrain(own, tmp_path / "out", "--keep-checkpoints")) == 0
    found, whole = (content(tmp_path / name) for name in ("out", "whole"))
    assert found["model.safetensors"] == whole["model.safetensors"]
    assert [path.name for path in checkpoints(tmp_path / "out")] == ["checkpoint-4", "checkpoint-6"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "optimizer.safetensors", "trainer_state.json"]
)
def test_resume_goes_on_from_the_newest_whole_checkpoint(room, tmp_path, capsys, name):
    assert run(pretrain(room, tmp_path / "out", "--keep-checkpoints")) == 0
    capsys.readouterr()
    (tmp_path / "out" / "checkpoint-6" / name).unlink()
    assert run(pretrain(room, tmp_path / "out", "--resume", "--keep-checkpoints")) == 0
    printed = capsys.readouterr()
    assert "going on after step 4" in printed.out
    if name != "trainer_state.json":  # without it the folder is no checkpoint
        assert str(tmp_path / "out" / "checkpoint-6" / name) in printed.out + printed.err
    assert checkpoints(tmp_path / "out")[-1].name == "checkpoint-6"  # written again


def test_loading_names_a_missing_vocabulary(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    assert WordPieceTokenizer.from_pretrained(tmp_path).vocab == tokenizer.vocab
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt: no such file"):
        WordPieceTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("former", [True, False])
def test_only_run_lock_removes_temporary_files_of_killed_processes(tmp_path, former):
    """In containers all processes may have the id 1, and another run may be active."""
    folder = tmp_path / "run"
    number = f".new.{os.getpid()}.tmp"  # the name in version 1
    left = folder / number if former else unused_name(folder / "new")
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    (folder / left.name.replace("new", "file")).write_text("half")
    before = content(folder)
    with atomic_dir(folder / "new") as temporary:
        (temporary / "whole").write_text("whole")
    with atomic_write(folder / "file") as temporary:
        temporary.write_text("whole")
    atomic_remove(folder / "new")
    assert content(folder) == {**before, "file": b"whole"}
    with run_lock(folder, resume=True):
        assert content(folder).keys() == {"file", ".lock"}


def test_atomic_remove_never_shows_a_partial_folder(tmp_path):
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "file").write_text("x")
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: seen.append(sorted(tmp_path.iterdir())))
        atomic_remove(tmp_path / "checkpoint-1")
    ((left,),) = seen
    assert left.match(".checkpoint-1.*.tmp")
    assert left.match(TEMPORARY)
    atomic_remove(tmp_path / "checkpoint-1")  # missing: nothing is done
    with run_lock(tmp_path, resume=True):
        assert content(tmp_path).keys() == {".lock"}


HOLDING = """
import sys
from pathlib import Path
from minibert.io.locks import run_lock
with run_lock(sys.argv[1], resume=True):
    left = Path(sys.argv[1]) / ".checkpoint-7.1.tmp"
    left.mkdir()
    (left / ".config.json.1.tmp").write_text("half")
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def another_run(folder):
    """Lock a folder in another process until it or the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(locks.fcntl is None, reason="the system has no such locks")
def test_run_lock_refuses_a_second_run_until_the_first_ends(room, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(pretrain(room, out, "--keep-checkpoints")) == 0
    whole = (out / "model.safetensors").read_bytes()
    shutil.rmtree(out / "checkpoint-6")
    capsys.readouterr()
    finetune = ["finetune", room / "rows.tsv", "--dev", room / "rows.tsv", "--out", out]
    with another_run(out) as first:
        for second in pretrain(room, out), pretrain(room, out, "--resume"), finetune:
            assert run(second) == 2
            error = one_line(capsys)
            assert f"{out}: another run is at work here (process {first.pid})" in error
        first.kill()
        first.wait()
        assert (out / ".checkpoint-7.1.tmp").is_dir()
        assert run(pretrain(room, out, "--resume")) == 0
    assert (out / "model.safetensors").read_bytes() == whole
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(locks.fcntl is None, reason="the system has no such locks")
def test_one_of_two_simultaneous_runs_in_a_new_folder_is_refused(room, tmp_path, capsys):
    with another_run(tmp_path / "out") as first:
        shutil.rmtree(tmp_path / "out" / ".checkpoint-7.1.tmp")
        assert run(pretrain(room, tmp_path / "out")) == 2
        assert f"another run is at work here (process {first.pid})" in one_line(capsys)
        first.kill()
        first.wait()
    assert content(tmp_path).keys() == {"out/.lock"}
    assert (
        run(pretrain(room, tmp_path / "out")) == 0
    )  # a folder that contains only the lock of a dead run counts as empty


def test_run_lock_removes_its_file_and_an_empty_folder(tmp_path):
    with run_lock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with run_lock(tmp_path / "a"):
        (tmp_path / "a" / "file").write_text("kept")
    assert content(tmp_path) == {"a/file": b"kept"}
    with pytest.raises(FileExistsError, match="exists already"), run_lock(tmp_path / "a"):
        pass
    assert content(tmp_path) == {"a/file": b"kept"}


def test_run_lock_continues_without_locks_of_the_system(tmp_path, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if locks.fcntl is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(locks.fcntl, "flock", refuse)
            with run_lock(tmp_path / "a"):
                pass
        assert "can't be locked here: No locks available" in caplog.text
    monkeypatch.setattr(locks, "fcntl", None)
    with run_lock(tmp_path / "a"), run_lock(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def at_once(work):
    """Call a function with each thread's number in eight threads at once; return the results."""
    together = threading.Barrier(8)

    def start(number):
        together.wait()
        return work(number)

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(start, range(8)))


WORDS = "the a cat dog sat ran on under mat tree big red and then it was".split()


def texts(number):
    """Return texts for one thread and texts for all."""
    rng = np.random.default_rng(number % 4)
    return [" ".join(rng.choice(WORDS, 1 + i % 9)) + " unheard" * (number % 2) for i in range(24)]


def test_eight_threads_share_a_tokenizer():
    def ids(tokenizer, number):
        return [tokenizer.encode(text) for text in texts(number)]

    shared = small_tokenizer()
    assert at_once(lambda n: ids(shared, n)) == [ids(small_tokenizer(), n) for n in range(8)]


def small_model():
    config = BertConfig.preset(
        "tiny", vocab_size=len(small_tokenizer()), max_position_embeddings=16
    )
    return BertForMaskedLM(config, seed=1)


def answers_of(model, number):
    batch = small_tokenizer().encode_batch(texts(number), max_length=16)
    loss, grads = model.loss_and_grads(batch, batch["input_ids"])
    return [np.float64(loss), grads.vector, model(**batch).logits]


def vectors_of(extractor, number):
    return [extractor(texts(number), threads=1 + number % 2)]


def extractor_of(model):
    return FeatureExtractor(model, small_tokenizer(), pooling="mean")


def as_bytes(results):
    return [[array.tobytes() for array in arrays] for arrays in results]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "use"),
    [(small_model, answers_of), (lambda: extractor_of(small_model()), vectors_of)],
    ids=["a model", "an extractor"],
)
def test_eight_threads_share(make, use):
    alone = [use(make(), number) for number in range(8)]
    shared = make()  # not used before, so all threads initialize it at once
    assert as_bytes(at_once(lambda n: use(shared, n))) == as_bytes(alone)


@pytest.mark.slow
def test_model_and_extractor_in_parallel_agree_up_to_rounding():
    """The extractor limits BLAS to one thread, also for the model while both run."""
    model = small_model()
    extractor = extractor_of(model)

    def use(number):
        return vectors_of(extractor, number) + answers_of(model, number)

    alone = [use(number) for number in range(8)]
    together = at_once(use)
    assert as_bytes(pair[:1] for pair in together) == as_bytes(pair[:1] for pair in alone)
    for ours, others in zip(together, alone, strict=True):
        for one, other in zip(ours, others, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_eight_threads_share_a_fitted_classifier():
    labels = ["cat" if "cat" in text else "none" for text in texts(0)]
    classifier = TextClassifier(epochs=1)
    classifier.fit(texts(0), labels)

    def answers(number):
        return classifier.predict_proba(texts(number)).tobytes()

    alone = [answers(number) for number in range(8)]
    assert at_once(answers) == alone
