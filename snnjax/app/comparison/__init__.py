"""Methods compared on equal terms: rows of measurements, and tables and figures of them.

Every row trains its own network, unless another row has trained the same one, and evaluates all
test images after every timestep. A row is written as soon as it is measured, so a comparison that
was stopped continues where it stopped.
"""

from snnjax.app.comparison.measurement import (
    Line,
    fill,
    measure,
    network_label,
    train_or_reuse,
)
from snnjax.app.comparison.rows import (
    Group,
    measure_missing,
    read_groups,
    read_rows,
    training_of,
)
from snnjax.app.comparison.tables import (
    Published,
    accuracy_figure,
    accuracy_table,
    accuracy_text,
    network_figure,
    published_table,
    summary_table,
    write_results,
)

__all__ = [
    "Group",
    "Line",
    "Published",
    "accuracy_figure",
    "accuracy_table",
    "accuracy_text",
    "fill",
    "measure",
    "measure_missing",
    "network_figure",
    "network_label",
    "published_table",
    "read_groups",
    "read_rows",
    "summary_table",
    "train_or_reuse",
    "training_of",
    "write_results",
]
