"""What `embed` and `similar` share: the feature extractor."""

import argparse
from typing import Any

from minibert.inference.features import FeatureExtractor


def make_extractor(options: argparse.Namespace) -> FeatureExtractor:
    """Build the extractor; what the options leave open, the model's folder may say."""
    given: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("pooling", "layers", "combine", "max_length")
        if getattr(options, name) is not None
    }
    if options.normalize:
        given["normalize"] = True
    return FeatureExtractor.from_pretrained(options.model, **given)
