"""Model cards of sentence vectors."""

import json
import shlex
from dataclasses import dataclass

from minibert.training.card import Card


@dataclass(frozen=True)
class EmbeddingCard(Card):
    """The content of the card of a model for sentence vectors; see `Card`.

    The settings also have `model`, the checksum of the model that the run started from.
    """

    @property
    def _pipeline(self) -> str:
        return "sentence-similarity"

    def _usage(self, name: str) -> list[str]:
        """Return a command and code that load the model, here and in sentence-transformers."""
        quoted = json.dumps(name, ensure_ascii=False)
        return [
            "```sh",
            f'minibert similar {shlex.quote(name)} "Some text." texts.txt',
            "```",
            "",
            "```python",
            "from minibert import FeatureExtractor",
            "",
            f'vectors = FeatureExtractor.from_pretrained({quoted})(["Some text."])',
            "```",
            "",
            f"`SentenceTransformer({quoted})` of sentence-transformers returns the same vectors.",
        ]

    def _checksums(self) -> dict[str, str]:
        model = getattr(self.settings, "model", "")
        return {**super()._checksums(), "checksum of the model at the start": f"`{model}`"}

    def _recipe(self) -> dict[str, object]:
        recipe = super()._recipe()
        recipe.pop("model", None)
        return recipe
