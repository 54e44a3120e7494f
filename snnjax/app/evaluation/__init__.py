"""Accuracy, spikes and early exit of a spiking network on all images of a split."""

from snnjax.app.evaluation.accuracy import WITHIN, evaluate
from snnjax.app.evaluation.early_exits import evaluate_exits
from snnjax.app.evaluation.operations import evaluate_operations

__all__ = ["WITHIN", "evaluate", "evaluate_exits", "evaluate_operations"]
