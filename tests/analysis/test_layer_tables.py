"""Tables of layers show the result of conversion and the error, in terminals and notebooks."""

import json

import numpy as np
import pytest
from examples import (
    branching_network,
    dense_network,
    random_images,
    random_variables,
    residual_network,
)
from paths import EXPERIMENTS

from snnjax import convert
from snnjax.analysis.conversion_error import measure_conversion_error
from snnjax.analysis.error_decomposition import ERROR_PARTS
from snnjax.analysis.layer_tables import as_html, describe_layers, error_table, layer_table
from snnjax.app import cli

NET2 = EXPERIMENTS / "mnist_latency/parameters/net2-seed0.safetensors"
SHAPE = (8, 8, 3)


def test_every_layer_has_a_row_with_its_own_numbers():
    network = residual_network("channel")
    variables = random_variables(network, SHAPE)
    scales = {"02_activation": 0.75}
    rows = {row.path: row for row in describe_layers(network, variables, SHAPE, scales=scales)}
    assert len(rows) == 26
    assert rows["01_norm"].remark == "folded into 00_conv"
    assert rows["03_residual/body/04_norm"].remark == "folded into 03_residual/body/03_conv"
    assert rows["00_conv"].parameters == 3 * 3 * 3 * 8 + 8
    assert (rows["00_conv"].kind, rows["00_conv"].weights) == ("Conv", (3, 3, 3, 8))
    assert rows["03_residual/body/03_conv"].weights == (3, 3, 4, 8)  # two groups
    assert rows["11_dense"].weights == (4 * 4 // 4 * 16, 12)
    assert {rows[path].weights for path in ("01_norm", "02_activation", "09_pool")} == {()}
    active = rows["02_activation"]
    theta = np.exp(variables["params"]["02_activation"]["log_theta"])
    assert active.shape == (8, 8, 8)
    assert active.theta == pytest.approx((theta.min(), theta.max()))
    assert active.scale == (0.75, 0.75)
    assert rows["04_activation"].scale == pytest.approx(rows["04_activation"].theta)
    assert active.remark == "neurons, v_n = v_p / 0.25"


@pytest.mark.slow
def test_the_tables_are_html_in_a_notebook():
    network = branching_network()
    variables, images = random_variables(network, SHAPE), random_images(2, SHAPE)
    rows = describe_layers(network, variables, SHAPE, sources={"00_conv": ("mine/kernel",)})
    report = measure_conversion_error(network, convert(network, variables), images, num_steps=2)
    tables = [layer_table(rows, "layers"), error_table(report, "errors")]
    assert "text/html" in tables[1]._repr_mimebundle_([], [])
    page = as_html(tables)
    assert "mine/kernel" in page
    assert "3 x 3 x 3 x 8" in page
    assert "counts are too coarse" in page
    for path in report.layers:
        assert path in page


@pytest.mark.parametrize("initial", [0.0, 0.5])
def test_e_an_initial_potential_is_advised_where_it_is_another(initial):
    network = dense_network()
    params = convert(network, random_variables(network, (4, 4, 1)), initial=initial)
    report = measure_conversion_error(network, params, random_images(4, (4, 4, 1)), num_steps=2)
    large = [layer.advice for layer in report.layers.values() if "timesteps" in layer.advice]
    assert large and all(("v(0) = v_p / 2" in advice) == (initial == 0) for advice in large)


@pytest.mark.slow
def test_the_command_prints_and_writes_the_report(tmp_path, capsys):
    options = ["--dataset", "mnist5k", "--images", "20", "--num-steps", "3"]
    assert cli.main(["report", str(NET2), "--output", str(tmp_path), *options]) == 0
    printed = capsys.readouterr().out
    assert "04_activation" in printed
    record = json.loads((tmp_path / "report.json").read_text())
    layer = record["layers"]["04_activation"]
    assert set(layer["parts"]) == set(ERROR_PARTS)
    assert f"{layer['error']:.3f}" in printed
    assert "04_activation" in (tmp_path / "report.html").read_text()
    tried = record["remedies"]
    assert {"", "--initial-potential 0", "--num-steps 6"} <= {x["change"] for x in tried["trials"]}
    assert tried["advice"] in " ".join(printed.split())
    assert cli.main(["report", str(NET2), "--output", str(tmp_path), *options[:2], "--images",
                     "1001"]) == 2  # fmt: skip
    assert "images is 1001; want at most the 1000 there are" in capsys.readouterr().err
