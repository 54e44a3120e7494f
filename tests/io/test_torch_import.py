"""Modules of PyTorch as functions of JAX, and as spiking networks."""

import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from spiking_functions import images, largest_difference, settled

import snnjax

X = images((3, 8, 8))
SITES = {
    "ResidualNetwork": ("features.0", "features.5"),
    "Attention": ("norm", "qkv", "div", "dot_general", "add", "up"),
}


@pytest.fixture(scope="module")
def modules():
    import torch_modules  # PyTorch takes seconds: not for the quick tests

    return torch_modules


@pytest.fixture(scope="module", params=SITES)
def case(request, modules):
    """A module in training mode, what it was, and what was made of it."""
    module = modules.trained(getattr(modules, request.param)())
    before = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    apply, params = snnjax.from_torch(module, X)
    return SimpleNamespace(
        name=request.param, module=module, before=before, apply=apply, params=params
    )


def outputs(torch, module):
    """Outputs of a module in inference mode on all images."""
    with torch.no_grad():
        found = module.eval()(torch.from_numpy(X))
    module.train()
    return jax.tree.map(lambda y: y.numpy(), found)


@pytest.mark.slow
def test_the_function_has_the_outputs_of_the_module_which_stays_as_it_was(case, modules):
    assert case.module.training
    for name, value in case.module.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), case.before[name])
    found = jax.jit(case.apply)(case.params, X)
    assert largest_difference(found, outputs(modules.torch, case.module)) < 1e-5


@pytest.mark.slow
def test_parameters_are_the_floats_of_the_state_dict_once(case):
    wanted = {name: value for name, value in case.before.items() if value.dtype == np.float32}
    if case.name == "Attention":
        assert "order" in case.before
        del wanted["head.weight"]  # is up.weight
    else:
        wanted["features.5.scale"] = np.float32(0.5)
    assert case.params.keys() == wanted.keys()
    for name, value in case.params.items():
        assert isinstance(value, np.ndarray) and value.dtype == np.float32
        np.testing.assert_array_equal(value, wanted[name])


@pytest.mark.slow
def test_it_settles_to_its_quantised_function_at_sites_named_by_modules(case):
    assert settled(case.apply, case.params, X).function.sites == SITES[case.name]


@pytest.mark.slow
def test_multihead_attention_settles_and_counts_the_spikes_of_each_image(modules):
    module = modules.trained(modules.Encoder())
    spiking = settled(*snnjax.from_torch(module, X), X)
    blocks = [place.blocks for place in spiking.function.image_axes]
    assert blocks.count(4) == 2  # tokens are joined with images behind them, once in each layer
    together, alone = (snnjax.simulate(spiking, x, num_steps=32) for x in (X, X[2:3]))
    for site, count in alone.layer_spikes.items():
        assert int(count[0]) == int(together.layer_spikes[site][2]) > 0


@pytest.mark.slow
def test_the_function_is_pure(modules):
    module = modules.trained(modules.ResidualNetwork())
    apply, params = snnjax.from_torch(module, modules.torch.from_numpy(X))
    wanted = outputs(modules.torch, module)
    modules.torch.nn.init.zeros_(module.head.weight)

    def total(params):
        found = jax.vmap(lambda x: apply(params, x[None])[0])(X)
        return found.sum(), found

    slope, found = jax.jit(jax.grad(total, has_aux=True))(params)
    assert largest_difference(found, wanted) < 1e-5
    np.testing.assert_allclose(slope["head.bias"], np.full(5, len(X)))
    assert np.any(slope["features.0.weight"])


@pytest.mark.slow
def test_a_traced_module_keeps_the_names_of_its_parts(modules):
    module = modules.trained(modules.ResidualNetwork(modules.torch.nn.AvgPool2d))
    network, _, _ = snnjax.trace(*snnjax.from_torch(module, X), X[:1])
    wanted = ["features.0", "features.2/relu", "features.5.conv", "features.5/relu", "head"]
    assert list(dict(network.user_names).values()) == wanted


@pytest.mark.slow
def test_modules_that_are_no_functions_are_refused_by_name(modules):
    nn = modules.torch.nn
    refused = [
        (nn.Sequential(nn.Identity(), modules.Noise()), "^1 draws random numbers in inference"),
        (modules.Counting(), "outputs of Counting in JAX differ from those of PyTorch by 1 on"),
        (nn.Linear(3, 3), r"^Linear fails on an example of shape \(2, 3, 8, 8\) \(RuntimeError"),
        (nn.AdaptiveMaxPool2d(2), "^torchax cannot compute AdaptiveMaxPool2d by JAX"),
        (nn.ParameterList([modules.torch.ones(1, dtype=modules.torch.cfloat)]), "^ParameterList"),
    ]
    for module, message in refused:
        with pytest.raises(ValueError, match=message) as error:
            snnjax.from_torch(module, X)
        assert "\n" not in str(error.value)
    with pytest.raises(TypeError, match=r"^from_torch takes a torch.nn.Module, not a function$"):
        snnjax.from_torch(outputs, X)
    with pytest.raises(ValueError, match="example are uint8; want floats"):
        snnjax.from_torch(nn.Identity(), np.zeros((2, 3, 8, 8), np.uint8))


@pytest.mark.slow
def test_the_example_is_a_tensor_of_any_float_with_or_without_a_gradient(modules):
    torch = modules.torch
    for options in ({"requires_grad": True}, {"dtype": torch.bfloat16}):
        _, params = snnjax.from_torch(torch.nn.Linear(4, 3), torch.ones(2, 4, **options))
        assert params["bias"].dtype == np.float32
    with pytest.raises(ValueError, match=r"^example is None; want images"):
        snnjax.from_torch(torch.nn.Linear(4, 3), None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "message"),
    [({}, "^params of Linear lack bias"), ({"w": 1.0}, "^params of Linear lack bias")],
)
def test_other_names_of_parameters_are_refused(modules, params, message):
    apply, _ = snnjax.from_torch(modules.torch.nn.Linear(8, 3), X)
    with pytest.raises(ValueError, match=message):
        apply(params, X)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r'needs PyTorch and torchax.*"snnjax\[torch\]"$'):
        snnjax.from_torch(None, X)
