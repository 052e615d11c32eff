"""The model: gradients from the task, a frozen memory in evaluation, and priors that survive how it is trained."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ait import AssociativeTransformer
from ait.interpret.causal import logits_under
from ait.interpret.memory_report import trace_queries
from ait.memory import retrieve
from ait.memory.hopfield import KERNELS
from ait.weights import checkpoint_filter_fn
from ait.workspace import MEMORIES

MakeModel = Callable[..., AssociativeTransformer]


def all_priors(model: AssociativeTransformer) -> Tensor:
    return torch.stack([block.workspace.memory.priors for block in model.blocks])


def gradients(model: AssociativeTransformer) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_healthy(model: AssociativeTransformer) -> None:
    priors = all_priors(model)
    assert priors.dtype == torch.float32
    assert not priors.requires_grad
    torch.testing.assert_close(priors.norm(dim=-1), torch.ones(priors.shape[:2]))


def training_loss(
    model: AssociativeTransformer, images: Tensor, labels: Tensor, forward: Callable[..., Any] | None = None
) -> Tensor:
    output = (forward or model.forward_training)(images)
    return F.cross_entropy(output.logits.float(), labels) + 0.01 * output.balance_loss


# Gradients


@pytest.mark.parametrize("call", ["forward", "forward_training"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("memory", MEMORIES)
def test_the_task_alone_gives_every_parameter_a_gradient(
    make_model: MakeModel, images: Tensor, labels: Tensor, memory: str, kernel: str, call: str
) -> None:
    model = make_model({"retrieval": kernel, "learn_beta": True}, memory=memory).train()
    logits = model(images) if call == "forward" else model.forward_training(images).logits
    F.cross_entropy(logits, labels).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())


# Without a memory


def test_a_model_without_memories_is_the_one_that_retrieves_nothing(make_model: MakeModel, images: Tensor) -> None:
    whole, without = make_model().eval(), make_model({"num_priors": 0}, memory="none").eval()
    without.load_state_dict(checkpoint_filter_fn(whole.state_dict(), without))
    assert without.associative_blocks() == []
    expected = logits_under(whole, images, "retrieval_off")
    torch.testing.assert_close(without(images), expected)
    torch.testing.assert_close(trace_queries(without, images).tokens, without.forward_features(images))
    torch.testing.assert_close(torch.jit.script(without)(images), expected)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_model_without_memories_is_trained(
    make_model: MakeModel, images: Tensor, labels: Tensor, checkpointing: bool
) -> None:
    model = make_model({"num_priors": 0}, memory="none").train()
    model.set_grad_checkpointing(checkpointing)
    output = model.forward_training(images)
    assert (output.balance_loss, output.usage.shape, output.write_change.shape) == (0, (0, 0), (0,))
    training_loss(model, images, labels).backward()
    assert set(gradients(model)) == {name for name, _ in model.named_parameters()}


# Evaluation


@pytest.mark.parametrize("memory", MEMORIES)
def test_an_image_has_the_same_logits_alone_in_a_batch_and_after_other_requests(
    make_model: MakeModel, memory: str
) -> None:
    model = make_model(memory=memory)
    model.forward_training(torch.randn(16, 3, 16, 16))
    model.eval()
    priors = all_priors(model).clone()
    batch = torch.randn(64, 3, 16, 16)
    alone = model(batch[17:18])
    together = model(batch)[17:18]
    model(10 * torch.randn(32, 3, 16, 16))
    again = model(batch[17:18])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert torch.equal(again, alone)
    assert torch.equal(all_priors(model), priors)
    assert torch.equal(model.forward_training(batch[17:18]).logits, alone)


def test_an_adaptive_memory_is_written_in_evaluation(make_model: MakeModel, images: Tensor) -> None:
    model = make_model({"adaptive": True}).eval()
    assert all(block.workspace.writes() for block in model.blocks)
    before = all_priors(model).clone()
    with torch.no_grad():
        first, second = model(images), model(images)
    assert not torch.equal(all_priors(model), before)
    assert not torch.equal(first, second)
    assert_healthy(model)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_block_is_its_formula(make_model: MakeModel, kernel: str) -> None:
    block = make_model({"retrieval": kernel, "scale": 0.5}).eval().blocks[0]
    x = torch.randn(2, 16, 32)
    attended = x + block.attn(F.layer_norm(x, (32,), eps=1e-6))
    hidden = F.layer_norm(block.mlp(F.layer_norm(attended, (32,), eps=1e-6)), (32,), eps=1e-6)
    retrieval = block.workspace.retrieval
    patterns = retrieval.patterns(block.workspace.memory.priors)
    recalled = retrieve(hidden, patterns, retrieval.beta(), kernel)
    torch.testing.assert_close(block(x), attended + hidden + 0.5 * recalled, rtol=1e-3, atol=1e-4)


# Training


def test_training_output_is_the_forward_pass_and_its_statistics(make_model: MakeModel, images: Tensor) -> None:
    model, twin = make_model().train(), make_model().train()
    before = all_priors(model).clone()
    output, logits = model.forward_training(images), twin(images)
    torch.testing.assert_close(output.logits, logits)
    assert torch.equal(all_priors(model), all_priors(twin))
    assert output.balance_loss.ndim == 0
    assert output.balance_loss > 0
    torch.testing.assert_close(output.usage.sum(-1), torch.ones(2))
    moved = (all_priors(model) - before).square().mean((1, 2)).sqrt()
    torch.testing.assert_close(output.write_change, moved)


def test_training_leaves_no_state_on_modules_but_the_priors(
    make_model: MakeModel, images: Tensor, labels: Tensor
) -> None:
    model = make_model().train()
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    training_loss(model, images, labels).backward()
    assert {name: dict(vars(module)) for name, module in model.named_modules()} == before


@pytest.mark.parametrize("memory", MEMORIES)
def test_priors_stay_float32_under_autocast(
    make_model: MakeModel, images: Tensor, labels: Tensor, memory: str
) -> None:
    model = make_model(memory=memory).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = training_loss(model, images, labels)
        loss.backward()
        assert all(gradient.isfinite().all() for gradient in gradients(model).values())
        optimiser.step()
        optimiser.zero_grad()
    assert_healthy(model)


def test_priors_stay_float32_in_a_bfloat16_model(make_model: MakeModel, images: Tensor, labels: Tensor) -> None:
    model = make_model(dtype=torch.bfloat16).train()
    training_loss(model, images.bfloat16(), labels).backward()
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())
    assert_healthy(model)
    assert model.eval()(images.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("memory", MEMORIES)
def test_checkpointing_writes_once_and_changes_nothing(
    make_model: MakeModel, images: Tensor, labels: Tensor, memory: str
) -> None:
    plain, checkpointed = make_model(memory=memory).train(), make_model(memory=memory).train()
    checkpointed.set_grad_checkpointing()
    for _ in range(2):
        for model in (plain, checkpointed):
            model.zero_grad()
            training_loss(model, images, labels).backward()
        torch.testing.assert_close(all_priors(checkpointed), all_priors(plain))
        torch.testing.assert_close(gradients(checkpointed), gradients(plain))


def test_accumulated_steps_write_once_each(make_model: MakeModel, images: Tensor, labels: Tensor) -> None:
    model, twin = make_model().train(), make_model().train()
    for half in (slice(0, 4), slice(4, 8)):
        training_loss(model, images[half], labels[half]).backward()
        with torch.no_grad():
            twin(images[half])
    assert torch.equal(all_priors(model), all_priors(twin))
    assert_healthy(model)


def test_regularised_training_keeps_the_priors_healthy(make_model: MakeModel, images: Tensor, labels: Tensor) -> None:
    model = make_model(
        global_pool="avg",
        drop_rate=0.1,
        pos_drop_rate=0.1,
        patch_drop_rate=0.25,
        proj_drop_rate=0.1,
        attn_drop_rate=0.1,
        drop_path_rate=0.2,
    ).train()
    training_loss(model, images, labels).backward()
    assert_healthy(model)


def test_a_batch_smaller_than_the_bottleneck_is_trained_on(make_model: MakeModel, images: Tensor) -> None:
    model = make_model({"bottleneck": 512}).train()
    model.forward_training(images[:1])
    assert_healthy(model)


# Compilation


def test_a_compiled_training_step_equals_the_eager_one(make_model: MakeModel, images: Tensor, labels: Tensor) -> None:
    eager, compiled = make_model().train(), make_model().train()
    forward = torch.compile(compiled.forward_training, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        eager.zero_grad()
        compiled.zero_grad()
        training_loss(eager, images, labels).backward()
        training_loss(compiled, images, labels, forward).backward()
        torch.testing.assert_close(all_priors(compiled), all_priors(eager))
        torch.testing.assert_close(gradients(compiled), gradients(eager), rtol=1e-4, atol=1e-6)
    assert_healthy(compiled)


def test_a_compiled_training_step_in_mixed_precision_equals_the_eager_one(
    make_model: MakeModel, images: Tensor, labels: Tensor
) -> None:
    """Compiled backward passes run under autocast, eager ones do not."""
    eager, compiled = make_model().train(), make_model().train()
    forward = torch.compile(compiled.forward_training, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = training_loss(eager, images, labels)
        loss = training_loss(compiled, images, labels, forward)
    expected.backward()
    loss.backward()
    torch.testing.assert_close(all_priors(compiled), all_priors(eager))
    found = gradients(compiled)
    for name, reference in gradients(eager).items():
        assert found[name].dtype == torch.float32
        assert (found[name] - reference).norm() <= 0.05 * reference.norm(), name
    assert_healthy(compiled)


def test_a_compiled_model_predicts_as_the_eager_one(make_model: MakeModel, images: Tensor) -> None:
    model = make_model(depth=1).eval()
    priors = all_priors(model).clone()
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True)(images)
        torch.testing.assert_close(compiled, model(images), rtol=1e-4, atol=1e-5)
    assert torch.equal(all_priors(model), priors)


# Arguments


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"global_pool": "sum"}, "'flat'"),
        ({"global_pool": "flat", "dynamic_img_size": True}, "dynamic_img_size"),
        ({"global_pool": "flat", "patch_drop_rate": 0.5}, "patch_drop_rate"),
        ({"memory": "hopfield"}, "orthogonal"),
        ({"memory_args": {"priors": 3}}, "num_priors"),
        ({"embed_dim": 30, "num_heads": 4}, "embed_dim"),
        ({"depth": 0}, "depth"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(make_model: MakeModel, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model(**wrong)
