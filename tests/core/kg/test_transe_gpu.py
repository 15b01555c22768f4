"""TransE's path for GPUs, run on the CPU: the same steps as the path for CPUs."""

import copy
from typing import Any

import pytest
import torch
from torch.optim import SparseAdam

from kgrec_cli.core.kg.methods import build_factory, build_kg_model
from kgrec_cli.core.kg.steps import batch_loss, set_up_steps
from kgrec_cli.core.kg.transe_gpu import GPUTransE, lay_out

N_ENTITIES, N_RELATIONS, N_TRIPLES = 23, 3, 50


def make(n_triples: int = N_TRIPLES) -> tuple[Any, torch.Tensor]:
    """A TransE with its initial values, and triples."""
    torch.manual_seed(0)
    heads, tails = torch.randint(N_ENTITIES, (2, n_triples))
    triples = torch.stack([heads, torch.randint(N_RELATIONS, (n_triples,)), tails], dim=1)
    factory = build_factory(
        "TransE", triples.numpy(), n_entities=N_ENTITIES, n_relations=N_RELATIONS
    )
    model = build_kg_model("TransE", factory, 6)
    set_up_steps(model)
    model.reset_parameters_()
    return model, triples


def test_steps_are_those_of_the_path_for_cpus() -> None:
    model, triples = make()
    other = copy.deepcopy(model)
    optimizer = SparseAdam(list(model.get_grad_params()), lr=0.1)
    on_gpu = GPUTransE(other, SparseAdam(list(other.get_grad_params()), lr=0.1), triples, 20, 9)
    for batch in (triples[:20], triples[20:40], triples[40:]):
        drawn = torch.randint(N_ENTITIES, (9,)).sort().values
        drawn[4] = drawn[3]
        loss = batch_loss(model, batch, drawn.unique())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        filled = torch.cat([batch, triples[: 20 - len(batch)]])
        is_one = torch.arange(20) < len(batch)
        found = on_gpu.step(lay_out(filled[None], is_one[None], drawn[None]))
        assert found.item() == pytest.approx(loss.item(), rel=1e-5)
        for own, expected in zip(other.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-5)


def test_an_epoch_reads_every_triple_once_and_counts_adams_steps() -> None:
    model, triples = make()
    optimizer = SparseAdam(list(model.get_grad_params()), lr=0.01)
    trainer = GPUTransE(model, optimizer, triples, 20, 9)
    losses = [trainer.run_epoch() for _ in range(30)]
    layout = trainer.layout
    assert layout.is_one.sum(1).tolist() == [20, 20, 10]
    heads, tails = layout.entities[:, :20][layout.is_one], layout.entities[:, 20:40][layout.is_one]
    read = torch.stack([heads, layout.relations[layout.is_one], tails], dim=1)
    assert sorted(read.tolist()) == sorted(triples.tolist())
    assert [state["step"] for state in optimizer.state.values()] == [90, 90]
    assert losses[-1] < 0.7 * losses[0]
