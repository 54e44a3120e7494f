"""Hyper-parameters: their ranges, and that they load without JAX."""

import subprocess
import sys

import pytest

from snnjax.training.training_config import TrainingConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0; want at least 1"),
        ({"batch_size": 0}, "batch_size is 0; want at least 1"),
        ({"levels": -1}, "levels is -1; want at least 0"),
        ({"mix_levels_to": 3}, "mix_levels_to is 3; want it above levels, which is 4"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"label_smoothing": 1.0}, r"label_smoothing is 1.0; want it in \[0, 1\)"),
        ({"average": 1.0}, r"average is 1.0; want it in \[0, 1\)"),
        ({"cutout": -1}, "cutout is -1; want at least 0"),
        ({"smooth_epochs": 4, "epochs": 4}, r"smooth_epochs is 4; want it in \[0, 4\)"),
        ({"smooth_epochs": 1, "levels": 0}, "smooth_epochs is 1, but levels is 0"),
    ],
)
def test_a_value_out_of_its_range_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**change)


def test_the_module_alone_imports_no_jax():
    """The command line reads the configuration before it starts JAX."""
    code = (
        "import sys; from snnjax.training.training_config import TrainingConfig; TrainingConfig();"
        " print(*sorted(n for n in sys.modules if n.split('.')[0] in {'jax', 'jaxlib', 'flax',"
        " 'optax', 'numpy'} or n.startswith('snnjax.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [
        "snnjax.runtime", "snnjax.runtime.ranges", "snnjax.training",
        "snnjax.training.training_config",
    ]  # fmt: skip
