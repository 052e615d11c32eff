"""What the memory report says, and that reading it changes nothing."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ait import AssociativeTransformer
from ait.interpret.memory_report import describe, memory_report
from ait.memory.capacity import effective_rank, perplexity
from ait.memory.hopfield import KERNELS

MakeModel = Callable[..., AssociativeTransformer]


@pytest.mark.parametrize("kernel", KERNELS)
def test_retrieval_never_raises_the_reported_energy(make_model: MakeModel, images: Tensor, kernel: str) -> None:
    model = make_model({"retrieval": kernel})
    for block in memory_report(model, images):
        assert block.energy_before.shape == block.energy_after.shape == (8, 16)
        assert (block.energy_after <= block.energy_before + 1e-4).all()
        summary = block.summary()
        assert summary["energy_drop"] == pytest.approx(summary["energy_before"] - summary["energy_after"], abs=1e-4)


@pytest.mark.parametrize("pool", ["avg", "token"])
def test_report_measures_what_the_model_recalls(make_model: MakeModel, images: Tensor, pool: str) -> None:
    model = make_model(global_pool=pool).eval()
    recalls: list[Tensor] = []
    for block in model.blocks:
        block.workspace.retrieval.register_forward_hook(lambda module, args, output: recalls.append(output[1]))
    with torch.no_grad():
        model(images)
    seen = [recall[:, model.num_prefix_tokens :] for recall in recalls]
    for block, recall, measured in zip(model.blocks, seen, memory_report(model, images), strict=True):
        torch.testing.assert_close(measured.recall, recall)
        assert measured.patch_perplexity == pytest.approx(float(perplexity(recall).mean()))
        assert 1 <= measured.patch_perplexity <= measured.usage_perplexity + 1e-6 <= 6 + 1e-5
        assert measured.effective_rank_priors == pytest.approx(effective_rank(block.workspace.memory.priors))
        assert measured.retrieval_snr > 0


def test_patterns_of_orthonormal_weights_have_the_rank_of_the_priors(make_model: MakeModel, images: Tensor) -> None:
    for block in memory_report(make_model({"beta": 3.0}), images):
        assert block.effective_rank_patterns == pytest.approx(block.effective_rank_priors, rel=1e-4)
        assert block.sharpness == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
def test_report_leaves_mode_and_memory_as_they_were(
    make_model: MakeModel, images: Tensor, training: bool, adaptive: bool
) -> None:
    model = make_model({"adaptive": adaptive}).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    memory_report(model, images)
    assert model.training == training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_report_does_not_depend_on_the_batch_size(make_model: MakeModel, images: Tensor) -> None:
    model = make_model()
    for whole, parts in zip(memory_report(model, images), memory_report(model, images, 3), strict=True):
        assert parts.summary() == pytest.approx(whole.summary(), rel=1e-4)


def test_description_has_a_line_a_block(make_model: MakeModel, images: Tensor) -> None:
    lines = describe(memory_report(make_model(), images)).splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1


def test_a_model_without_a_memory_is_refused(images: Tensor) -> None:
    with pytest.raises(TypeError, match="ait_"):
        memory_report(nn.Flatten(), images)  # type: ignore[arg-type]
