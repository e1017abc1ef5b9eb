"""Estimators with scikit-learn's interface: `TextClassifier`, `TextRegressor`, `TokenTagger`.

>>> texts = ["a red fox", "the red hen", "a blue sky", "the blue sea"] * 4
>>> classifier = TextClassifier().fit(texts, [0, 0, 1, 1] * 4)
>>> classifier.predict(["a red hen", "the blue sky"]).tolist()
[0, 1]

They work with scikit-learn's `Pipeline`, `cross_val_score`, `GridSearchCV` and `clone`, and do not
need scikit-learn themselves. `load` opens the folders that they and `minibert finetune` write.
"""

from minibert.estimators.base import DEV_SHARE, PATIENCE, Estimator
from minibert.estimators.loading import load
from minibert.estimators.predictions import Predictions
from minibert.estimators.tagger import TokenTagger
from minibert.estimators.texts import TextClassifier, TextRegressor
from minibert.io.rows import texts_and_pairs

__all__ = [
    "DEV_SHARE",
    "PATIENCE",
    "Estimator",
    "Predictions",
    "TextClassifier",
    "TextRegressor",
    "TokenTagger",
    "load",
    "texts_and_pairs",
]
