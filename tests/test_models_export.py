"""torch.export of the networks: one program for batches of any size."""

from __future__ import annotations

import inspect

import pytest
import torch

from good_calls import CALLS, PUBLIC, made

# IterativeRefinement begins with a solver, which looks at values.
NETWORKS = sorted(
    path.removesuffix("()")
    for path in CALLS
    if path.startswith("models.") and path.endswith("()") and "Iter" not in path
)


@pytest.mark.parametrize("path", NETWORKS)
def test_a_network_is_exported_for_any_number_of_items(path: str) -> None:
    network, given = made(path).eval(), CALLS[f"{path}()"][0]
    names = [name for name in inspect.signature(PUBLIC[path].forward).parameters if name in given and name != "mask"]
    few = tuple(given[name] for name in names)
    many = tuple(torch.cat([x, x[:2] / 2]) for x in few)
    any_number = {name: {0: torch.export.Dim("items", min=2, max=64)} for name in names}
    program = torch.export.export(network, few, dynamic_shapes=any_number)
    torch.testing.assert_close(program.module()(*many), network(*many))
