"""Open any folder of a model for use on texts: an estimator, a feature extractor, or another."""

import os
from typing import Any

from minibert.estimators.tagger import TokenTagger
from minibert.estimators.texts import TextClassifier, TextRegressor
from minibert.inference.cross_encoder import CrossEncoder, read_activation
from minibert.inference.features import FeatureExtractor
from minibert.inference.question_answering import QuestionAnswerer
from minibert.models.checkpoints import read_architectures
from minibert.models.hub import find_folder, read_modules
from minibert.models.table import bert_names
from minibert.tasks.folders import load_labeller
from minibert.tasks.registry import labelling_models

Loaded = (
    TextClassifier
    | TextRegressor
    | TokenTagger
    | FeatureExtractor
    | CrossEncoder
    | QuestionAnswerer
)

# Uses of a single text or pair that no class here has, and the classes that open them.
OTHERS = {
    "BertForMultipleChoice": "AutoModelForMultipleChoice",
    "BertForNextSentencePrediction": "BertForNextSentencePrediction",
}


def load(folder: str | os.PathLike[str], **options: Any) -> Loaded:
    """Open a folder for use on texts: what `minibert finetune`, Python or another program wrote.

    >>> load("tiny")(["sort a list"]).shape
    (1, 128)

    | the folder contains                            | result                                      |
    |------------------------------------------------|---------------------------------------------|
    | a fine-tuned classifier, regressor or tagger   | the fitted `TextClassifier`,                |
    |                                                | `TextRegressor` or `TokenTagger`            |
    | a sentence-transformers model, a body          | a `FeatureExtractor`                        |
    | a masked language model                        | a `FeatureExtractor` of its body, as in     |
    |                                                | `minibert embed`                            |
    | a cross-encoder that states its activation     | a `CrossEncoder`                            |
    | a model that answers questions                 | a `QuestionAnswerer`                        |

    A masked language model with its head is opened by `AutoModelForMaskedLM`.

    Args:
        folder: the folder of a model, its name on the hub, "tiny" or "minilm".
        options: arguments of the class's `from_pretrained`.

    Raises:
        OSError: a file is missing or can't be read.
        ValueError: a file is invalid, or the model is one of another use.
    """
    if read_activation(folder) is not None:
        return CrossEncoder.from_pretrained(folder, **options)
    if read_modules(find_folder(folder)):
        return FeatureExtractor.from_pretrained(folder, **options)
    architectures = read_architectures(folder)
    names = bert_names(architectures)
    for name, opener in OTHERS.items():
        if name in names:
            raise ValueError(
                f"{folder}: expected a model that labels texts or words, makes vectors or answers "
                f"questions, got {architectures[0]}; {opener}.from_pretrained opens it"
            )
    if "BertForQuestionAnswering" in names:
        return QuestionAnswerer.from_pretrained(folder, **options)
    if not labelling_models().keys() & {*names}:
        return FeatureExtractor.from_pretrained(folder, **options)
    task, model, tokenizer = load_labeller(folder)
    for kind in (TextClassifier, TextRegressor, TokenTagger):
        if task.name in kind.tasks:
            return kind._from_parts(folder, task, model, tokenizer, **options)
    raise ValueError(f"{folder}: expected the model of an estimator, got one of {task.name}")
