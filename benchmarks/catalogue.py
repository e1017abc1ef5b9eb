"""All benchmarks: each script with the arguments of its stored results."""

from typing import NamedTuple


class Benchmark(NamedTuple):
    """One measurement, whose result is stored in `benchmarks/results/NAME.md`.

    Attributes:
        name: unique.
        arguments: of the script.
        quick: further arguments of a quick run.
        module: the script; "": `name`.
    """

    name: str
    arguments: str = ""
    quick: str = ""
    module: str = ""

    def command(self, is_quick: bool = True) -> list[str]:
        """Return the arguments of Python for a quick run, or for a full one (list of str)."""
        module = f"benchmarks.{self.module or self.name}"
        quick = [*self.quick.split(), "--quick"] * is_quick
        return ["-m", module, *self.arguments.split(), *quick]


TINY = "--models tiny"
EAGER = f"{TINY} --sides PyTorch"  # torch.compile takes half a minute to compile
BENCHMARKS = (
    Benchmark("ablation", quick="--jobs tiny"),
    Benchmark("against_version", quick="HEAD"),
    Benchmark("bayes_limit"),
    Benchmark("families", "--lengths 128", "--models distilbert deberta-v2"),
    Benchmark("families_512", "--lengths 512", "--models distilbert --lengths 64", "families"),
    Benchmark("few_labels"),
    Benchmark("finetune", "--batch 16"),
    Benchmark("finetune_avx2", "--batch 16 --avx2", module="finetune"),
    Benchmark("finetune_32", "--batch 32", module="finetune"),
    Benchmark("finetune_fit", "--fit --rate 2e-4", module="finetune"),
    Benchmark("finetune_long", "--long", module="finetune"),
    Benchmark("from_nothing"),
    Benchmark("inference"),
    Benchmark("inference_avx2", "--avx2", module="inference"),
    Benchmark("memory", quick=TINY),
    Benchmark("ranks"),
    Benchmark("recipe"),
    Benchmark("recipe_2_minutes", "--minutes 2", module="recipe"),
    Benchmark("replaced_tokens"),
    Benchmark("scaling"),
    Benchmark("search"),
    Benchmark("sizes", quick="--rounds 1"),
    Benchmark("strategies", quick="--rounds 1 --sets questions"),
    Benchmark("threads", quick=TINY),
    Benchmark("tokenizer"),
    Benchmark("tokenizer_relatives", "--relatives", module="tokenizer"),
    Benchmark("train_step", quick=TINY),
    Benchmark("train_step_avx2", "--avx2", EAGER, "train_step"),
    Benchmark("train_step_dropout", "--dropout 0.1", EAGER, "train_step"),
    Benchmark("train_step_one_thread", "--threads 1", EAGER, "train_step"),
    Benchmark("train_to_loss"),
    Benchmark("windows"),
)
