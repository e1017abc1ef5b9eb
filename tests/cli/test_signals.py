"""Commands that signals stop: in a process of their own, with one line and no lost request."""

import os
import signal
import subprocess
import sys

import pytest

from minibert.objectives.supervised import Supervised
from minibert.training.checkpoint import checkpoints
from tests.cli.helpers import assert_refused, finetune_arguments, pretrain_arguments, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process")


def start(arguments, **options):
    """Start the command line in a new process."""
    command = [sys.executable, "-m", "minibert", *map(str, arguments)]
    return subprocess.Popen(command, text=True, **options)


@pytest.mark.parametrize("module", ["argparse", "numpy", "regex"])
def test_ctrl_c_while_modules_are_imported_prints_one_line(workspace, tmp_path, module):
    """The modules of the command line, of the models and of a command."""
    code = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / f"{module}.py").write_text(code, "utf-8")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = start(
        ["predict", workspace / "classifier", "the cat"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.communicate() == ("", "minibert: stopped\n")
    assert process.returncode == 130


def test_a_closed_terminal_stops_a_run_with_a_checkpoint(workspace, tmp_path):
    """The system sends SIGHUP, and each write to the terminal fails from then on."""
    master, slave = os.openpty()
    arguments = pretrain_arguments(workspace, tmp_path / "out")
    arguments += ["--steps", 100_000, "--save-every", 100_000, "--evaluate-every", 5]
    code = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, sys.executable, "-m", "minibert", *map(str, arguments)],
        stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while b"step 10:" not in shown:
        shown += os.read(master, 4096)
    os.close(master)
    assert process.wait(timeout=60) == 130
    assert len(checkpoints(tmp_path / "out")) == 1


@pytest.mark.parametrize("moment", ["in the last evaluation", "between two seeds"])
def test_ctrl_c_at_the_end_of_a_seed_trains_no_other_and_resume_does(
    workspace, tmp_path, capsys, monkeypatch, moment
):
    def evaluate(self, step):
        if moment == "in the last evaluation" and step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return right(self, step)

    def print_metrics(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("not interrupted")

    right = Supervised.evaluate
    arguments = finetune_arguments(workspace, tmp_path / "out", "--seeds", 2, "--resume")
    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "evaluate", evaluate)
        patch.setattr("minibert.cli.finetune.print_metrics", print_metrics)
        assert_refused(capsys, arguments, "stopped", "; the same command with --resume", status=130)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["seed-0"]
    if moment == "between two seeds":
        return
    assert run(arguments) == 0
    assert "2 seeds:" in capsys.readouterr().out


def test_a_crash_of_the_process_says_what_and_where():
    """For example of a mapped file that is cut while it is read."""
    code = (
        "import os, signal, sys\n"
        "from minibert.__main__ import main\n"
        "from minibert.cli import tokenize\n"
        "tokenize.run = lambda options: os.kill(os.getpid(), signal.SIGBUS)\n"
        "sys.argv = ['minibert', 'tokenize', 'folder', 'text']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGBUS
    assert done.stderr.startswith("Fatal Python error: Bus error")
