"""`minibert estimate`: tell what a training step needs, before a run."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from minibert.cli.arguments import MODEL_HELP, add_model_arguments, add_shard_arguments
from minibert.inspection.estimate import (
    Timing,
    TrainingStep,
    count_parameters,
    forward_flops,
    memory_of,
    step_flops,
    time_step,
    total_parameters,
)
from minibert.io.json import read_json
from minibert.models.checkpoints import CONFIG, PARTS, read_config
from minibert.models.config import BertConfig
from minibert.models.hub import checkpoint_folder
from minibert.runtime.threads import number_of_threads
from minibert.training.defaults import default_shards

LENGTH, BATCH_SIZE, VOCABULARY = 32, 64, 8192  # defaults, as those of `pretrain`
MIN_LENGTH = 3  # [CLS], a token and [SEP]
SPECIAL_TOKENS = 5  # [PAD], [UNK], [CLS], [SEP] and [MASK]
MIB, GIGA = 2**20, 1e9

DESCRIPTION = """
The step is one of masked language modelling, as pretrain runs it, or with --classes of fine-tuning
a classifier of texts, on sequences without padding.
Parameters, memory and FLOPs are computed from the sizes; the time is measured on this machine in
about two seconds, and for a large model extrapolated from a smaller one. --model reads the sizes of
a model of any family that opens, and none of its weights.
"""
EXAMPLE = "minibert estimate --size mini --length 128 --batch-size 32"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert estimate`."""
    parser.add_argument("--model", help=f"{MODEL_HELP}: use its sizes")
    add_model_arguments(parser, dropout=0.0, length=LENGTH)
    parser.add_argument(
        "--vocab-size",
        type=int,
        help=f"number of tokens in the vocabulary of a new model (default: {VOCABULARY})",
    )
    group = parser.add_argument_group("training")
    group.add_argument(
        "--batch-size",
        type=int,
        default=BATCH_SIZE,
        help="sequences per step (default: %(default)s)",
    )
    group.add_argument("--steps", type=int, help="number of updates, to tell the time of a run")
    group.add_argument(
        "--classes",
        type=int,
        help="fine-tune a classifier of texts with this number of classes (default: train a masked "
        "language model)",
    )
    add_shard_arguments(group)


def run(options: argparse.Namespace) -> None:
    """Print the parameters, the memory, the FLOPs and the time of a training step."""
    if options.steps is not None and options.steps < 1:
        raise ValueError(f"steps: expected at least 1, got {options.steps}")
    step = _step(options)
    for line in _sizes(step):
        print(line)
    print(end="", flush=True)  # before the time is measured
    for line in _time(step, time_step(step), options.steps):
        print(line)


def _step(options: argparse.Namespace) -> TrainingStep:
    """Return the step that the options describe."""
    if options.classes is not None and options.classes < 2:
        raise ValueError(f"classes: expected at least 2, got {options.classes}")
    length = LENGTH if options.length is None else options.length
    config = _known(options) if options.model else _new(options, length)
    rate = options.dropout
    return TrainingStep(
        replace(config, hidden_dropout_prob=rate, attention_probs_dropout_prob=rate),
        options.batch_size,
        length,
        default_shards(max(options.batch_size, 1), length)
        if options.shards is None
        else options.shards,
        number_of_threads(options.threads),
        options.gradient_checkpointing,
        0 if options.classes is None else options.classes,
    )


def _new(options: argparse.Namespace, length: int) -> BertConfig:
    """Return the configuration of a new model of a preset size."""
    if length < MIN_LENGTH:
        raise ValueError(f"length: expected at least {MIN_LENGTH} tokens, got {length}")
    tokens = VOCABULARY if options.vocab_size is None else options.vocab_size
    if tokens < SPECIAL_TOKENS:
        raise ValueError(
            f"vocab_size: expected at least the {SPECIAL_TOKENS} special tokens, got {tokens}"
        )
    return BertConfig.preset(
        options.size or "tiny",
        vocab_size=tokens,
        max_position_embeddings=length,
        hidden_act=options.activation or "gelu",
        position_embedding_type=options.positions or "absolute",
    )


def _known(options: argparse.Namespace) -> BertConfig:
    """Return the configuration of an existing model."""
    for name in ("size", "activation", "positions", "vocab_size"):
        if getattr(options, name) is not None:
            option = name.replace("_", "-")
            raise ValueError(f"--{option}: leave it out; {options.model} determines it")
    folder = checkpoint_folder(options.model)
    config = read_config(folder)
    parts = read_json(Path(folder) / CONFIG).get(PARTS)
    if parts:
        names = ", ".join(map(str, parts.values() if isinstance(parts, dict) else [parts]))
        raise ValueError(f"{options.model}: expected the parts of BERT, got {names}")
    return config


def _sizes(step: TrainingStep) -> Iterator[str]:
    """Yield the lines about parameters, memory and FLOPs."""
    config, counts, memory = (
        step.config,
        count_parameters(step.config, step.classes),
        memory_of(step),
    )
    L, count = config.num_blocks, total_parameters(config, step.classes)
    blocks = count - counts["embeddings"] - counts["head"]
    own = config.num_stored_blocks
    each = f" of {counts['block']:,}" if blocks == L * counts["block"] else ""
    each = each if own == L else f" that share {own}"
    yield (
        f"model: {L} layers, width {config.hidden_size}, {config.num_attention_heads} heads, "
        f"{config.vocab_size:,} tokens in the vocabulary"
    )
    task = f"{step.classes:,} classes" if step.classes else f"{step.read} of them masked"
    yield (
        f"step: {_counted(step.batch_size, 'sequence')} of {step.length} tokens, {task}; "
        f"{_counted(step.shards, 'shard')}, {step.at_once} at once"
    )
    yield ""
    yield _row("parameters", f"{count:,}")
    yield _row("  embeddings", f"{counts['embeddings']:,}")
    yield _row(f"  {L} blocks{each}", f"{blocks:,}")
    yield _row("  head, besides the embeddings", f"{counts['head']:,}")
    yield ""
    yield _row("memory, besides Python and NumPy", _mib(memory.total))
    yield _row("  parameters", _mib(memory.parameters))
    yield _row(f"  gradients, {_counted(memory.buffers, 'buffer')}", _mib(memory.gradients))
    yield _row("  AdamW's moments", _mib(memory.moments))
    yield _row(f"  activations of {_counted(step.at_once, 'shard')}", _mib(memory.activations))
    yield ""
    yield _row("FLOPs of a step", _giga(step_flops(step)))
    yield _row("FLOPs of its forward pass", _giga(forward_flops(step)))
    yield ""


def _time(step: TrainingStep, timing: Timing, steps: int | None) -> Iterator[str]:
    """Yield the lines about the time."""
    tokens, seconds = step.batch_size * step.length, timing.seconds
    yield _row("time of a step on this machine", _duration(seconds))
    yield _row("  tokens per second", f"{tokens / seconds:,.0f}")
    yield _row("  FLOPs per second", _giga(step_flops(step) / seconds))
    if steps is not None:
        yield _row(f"time of {_counted(steps, 'step')}", _duration(steps * seconds))
    yield ""
    small = timing.measured
    how = f"{_counted(timing.steps, 'step')} with {_counted(small.at_once, 'thread')}"
    if small == step:
        yield f"The time is the median of {how}, after one that does not count."
    else:
        sequences = _counted(small.batch_size, "sequence")
        if small.length < step.length:
            sequences += f" of {small.length:,} tokens"
        classes = f" and {small.classes:,} classes" if small.classes < step.classes else ""
        yield (
            f"The time is extrapolated by the FLOPs from {how}, of {sequences} in "
            f"a model of {small.config.num_hidden_layers} such blocks and "
            f"a vocabulary of {small.config.vocab_size:,} tokens{classes}."
        )


def _row(name: str, value: str) -> str:
    return f"{name:<34}{value:>16}"


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' * (count > 1)}"


def _mib(count: float) -> str:
    return f"{count / MIB:,.1f} MiB"


def _giga(flops: float) -> str:
    return f"{flops / GIGA:,.2f} billion"


def _duration(seconds: float) -> str:
    """Return a duration in a unit that fits it (str).

    >>> _duration(0.0123), _duration(90), _duration(8000)
    ('12.3 ms', '90.0 s', '2.2 hours')
    """
    for limit, unit, name in ((1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "minutes")):
        if seconds < limit:
            return f"{seconds / unit:,.1f} {name}"
    return f"{seconds / 3600:,.1f} hours"
