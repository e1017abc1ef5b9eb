"""Open any folder of a model for use on texts: an estimator, or a feature extractor."""

import os
from typing import Any

from minibert.estimators.tagger import TokenTagger
from minibert.estimators.texts import TextClassifier, TextRegressor
from minibert.inference.features import FeatureExtractor
from minibert.models.checkpoints import read_architectures
from minibert.models.hub import find_folder, read_modules
from minibert.models.table import bert_names
from minibert.tasks.folders import load_labeller
from minibert.tasks.registry import labelling_models

# Uses that neither an estimator nor an extractor has, and the classes that open them.
OTHERS = {
    "BertForQuestionAnswering": "AutoModelForQuestionAnswering",
    "BertForMultipleChoice": "AutoModelForMultipleChoice",
    "BertForNextSentencePrediction": "BertForNextSentencePrediction",
}


def load(
    folder: str | os.PathLike[str], **options: Any
) -> TextClassifier | TextRegressor | TokenTagger | FeatureExtractor:
    """Open a folder for use on texts: what `minibert finetune`, Python or another program wrote.

    >>> load("tiny")(["sort a list"]).shape
    (1, 128)

    | the folder contains                                  | result                                |
    |------------------------------------------------------|---------------------------------------|
    | a fine-tuned model                                   | the fitted `TextClassifier`,          |
    |                                                      | `TextRegressor` or `TokenTagger`      |
    | a model of sentence-transformers, a body             | a `FeatureExtractor`                  |
    | a masked language model                              | a `FeatureExtractor` of its body, as  |
    |                                                      | `minibert embed`                      |
    | a model that answers questions or chooses            | refused: `AutoModelFor...` opens it   |

    Args:
        folder: the folder of a model, its name on the hub, "tiny" or "minilm".
        options: arguments of the class's `from_pretrained`.

    Raises:
        OSError: a file is missing or can't be read.
        ValueError: a file is invalid, or the model is one of another use.
    """
    if read_modules(find_folder(folder)):
        return FeatureExtractor.from_pretrained(folder, **options)
    architectures = read_architectures(folder)
    names = bert_names(architectures)
    for name, opener in OTHERS.items():
        if name in names:
            raise ValueError(
                f"{folder}: expected a model that labels texts or words, or makes vectors, got "
                f"{architectures[0]}; {opener}.from_pretrained opens it"
            )
    if not labelling_models().keys() & {*names}:
        return FeatureExtractor.from_pretrained(folder, **options)
    task, model, tokenizer = load_labeller(folder)
    for kind in (TextClassifier, TextRegressor, TokenTagger):
        if task.name in kind.tasks:
            return kind._from_parts(folder, task, model, tokenizer, **options)
    raise ValueError(f"{folder}: expected the model of an estimator, got one of {task.name}")
