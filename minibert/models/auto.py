"""Auto classes: open a checkpoint of any family by the `model_type` of its config.json.

The names are those of Hugging Face. A file without a `model_type` belongs to the family of its
`architectures`; one without either is a BERT's. The module of a family is imported when one of its
checkpoints is opened; nothing that a file names is imported, because the names are keys of a table.
"""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from minibert.models.bert import BertBased
from minibert.models.checkpoints import read_config
from minibert.models.config import BertConfig
from minibert.models.hub import checkpoint_folder, pinned
from minibert.models.table import family_class, family_of, relative_class


class AutoConfig:
    """The configuration of a checkpoint of any family.

    >>> AutoConfig.from_dict({"model_type": "bert", "hidden_size": 96}).hidden_size
    96
    """

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BertConfig:
        """Build from the fields of a `config.json`.

        Raises:
            ValueError: the family is unknown, or a field is invalid.
        """
        family = family_of(values.get("model_type"), values.get("architectures"))
        config: BertConfig = family_class(family, "Config").from_dict(values)
        return config

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, revision: str | None = None
    ) -> BertConfig:
        """Read the `config.json` of a checkpoint.

        Args:
            folder (str or path), revision: as in `PreTrained.from_pretrained`.

        Raises:
            OSError: the file is missing or can't be read.
            ValueError: the family is unknown, or a field is invalid.
        """
        return read_config(checkpoint_folder(pinned(folder, revision)))


class AutoModel:
    """The body of a checkpoint of any family, with the pooler if the family has one.

    >>> AutoModel.from_config(AutoConfig.from_dict({"num_hidden_layers": 1})).prefix
    ''

    Attributes:
        uses: the ends of class names; the first that a family has is taken.

    Raises:
        TypeError: the class is called; its two methods make models.
    """

    uses: ClassVar[tuple[str, ...]] = ("Model",)

    def __init__(self, *args: Any, **options: Any) -> None:
        """Refuse: there is no model without a family."""
        name = type(self).__name__
        raise TypeError(f"{name}: expected {name}.from_pretrained(folder) or "
                        f"{name}.from_config(config)")  # fmt: skip

    @classmethod
    def from_config(cls, config: BertConfig, **options: Any) -> BertBased:
        """Return a new model.

        Args:
            config: of any family.
            options: as in `Model`, such as `seed` and `dtype`.

        Raises:
            ValueError: the family has no model for this use.
        """
        model: BertBased = family_class(config.model_type, *cls.uses)(config, **options)
        return model

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, revision: str | None = None, **options: Any
    ) -> BertBased:
        """Load a model.

        Args:
            folder (str or path), revision, options: as in `PreTrained.from_pretrained`.

        Raises:
            OSError, ValueError: as there; or the family is unknown, or has no model for this use.
        """
        folder = checkpoint_folder(pinned(folder, revision))
        kind = family_class(read_config(folder).model_type, *cls.uses)
        model: BertBased = kind.from_pretrained(folder, **options)
        return model


class AutoModelForMaskedLM(AutoModel):
    """A masked language model of any family; see `AutoModel`.

    >>> type(AutoModelForMaskedLM.from_pretrained("tiny")).__name__
    'BertForMaskedLM'
    """

    uses = ("ForMaskedLM",)


class AutoModelForPreTraining(AutoModel):
    """The model of any family with its heads of pre-training, by default a masked-LM head.

    >>> type(AutoModelForPreTraining.from_config(AutoConfig.from_pretrained("tiny"))).__name__
    'BertForPreTraining'
    """

    uses = ("ForPreTraining", "ForMaskedLM")


class AutoModelForSequenceClassification(AutoModel):
    """A classifier of texts of any family; see `AutoModel`.

    >>> config = AutoConfig.from_pretrained("tiny")
    >>> type(AutoModelForSequenceClassification.from_config(config)).__name__
    'BertForSequenceClassification'
    """

    uses = ("ForSequenceClassification",)


class AutoModelForTokenClassification(AutoModel):
    """A classifier of tokens of any family; see `AutoModel`.

    >>> config = AutoConfig.from_pretrained("tiny")
    >>> type(AutoModelForTokenClassification.from_config(config)).__name__
    'BertForTokenClassification'
    """

    uses = ("ForTokenClassification",)


class AutoModelForQuestionAnswering(AutoModel):
    """A model of any family that finds answers in texts; see `AutoModel`.

    >>> config = AutoConfig.from_pretrained("tiny")
    >>> type(AutoModelForQuestionAnswering.from_config(config)).__name__
    'BertForQuestionAnswering'
    """

    uses = ("ForQuestionAnswering",)


class AutoModelForMultipleChoice(AutoModel):
    """A model of any family that chooses among texts; see `AutoModel`.

    >>> config = AutoConfig.from_pretrained("tiny")
    >>> type(AutoModelForMultipleChoice.from_config(config)).__name__
    'BertForMultipleChoice'
    """

    uses = ("ForMultipleChoice",)


def class_for(kind: Any, folder: str | os.PathLike[str]) -> Any:
    """Return the class that opens a folder for the use of one of BERT's classes.

    >>> from minibert import BertForMaskedLM
    >>> class_for(BertForMaskedLM, "tiny") is BertForMaskedLM
    True

    Args:
        kind: one of BERT's classes; a class that is not in the tables is returned unchanged.
        folder (str or path): as in `PreTrained.from_pretrained`.

    Raises:
        OSError, ValueError: as `AutoModel.from_pretrained`.
    """
    return relative_class(kind, read_config(checkpoint_folder(folder)).model_type)
