"""Inspection: the activations and gradients of one text, in a terminal or on a page."""

from minibert.inspection.activations import Activation
from minibert.inspection.page import write_page
from minibert.inspection.predictions import inspectable_models
from minibert.inspection.terminal import printed
from minibert.inspection.values import Tensor, Values, printed_values, values_of
from minibert.inspection.walk import Inspection, inspect_text

__all__ = [
    "Activation",
    "Inspection",
    "Tensor",
    "Values",
    "inspect_text",
    "inspectable_models",
    "printed",
    "printed_values",
    "values_of",
    "write_page",
]
