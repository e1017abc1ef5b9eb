"""Objectives: what a model is trained to do, with its batches, labels and evaluation."""

from minibert.objectives.base import ModelObjective, Objective
from minibert.objectives.distillation import Distilled
from minibert.objectives.distilled_models import (
    DistilledClassifier,
    DistilledHiddenStates,
    DistilledMaskedLM,
)
from minibert.objectives.embeddings import SentenceVectors
from minibert.objectives.masked_lm import MaskedLM
from minibert.objectives.replaced_tokens import ReplacedTokens
from minibert.objectives.sentence_pairs import MaskedLMAndNextSentence, MaskedLMAndSentenceOrder

__all__ = [
    "Distilled",
    "DistilledClassifier",
    "DistilledHiddenStates",
    "DistilledMaskedLM",
    "MaskedLM",
    "MaskedLMAndNextSentence",
    "MaskedLMAndSentenceOrder",
    "ModelObjective",
    "Objective",
    "ReplacedTokens",
    "SentenceVectors",
]
