"""What the models of the paper's table cost, beside the published sizes; nothing is trained."""

import timm
import torch

from ait.benchmark.cost import Cost, model_cost
from training.experiments import style
from training.experiments.outcome import Check, Outcome
from training.experiments.tables import published
from training.experiments.tables.comparison import FULL
from training.experiments.tables.datasets import TABLE_DATA
from training.experiments.tables.markdown import table

CLASSES = {"CIFAR-10": 10, "CIFAR-100": 100, "Triangle": 2, "Pet": 37, "ImageNet-100": 100}
SETS = ("CIFAR-10", "Triangle", "ImageNet-100")
# A share of the published size by which ours may differ: not all of it is published.
SLACK = 0.06


def cost(label: str, dataset: str) -> Cost:
    """Count what a model of the table costs on a data set; its weights are never made."""
    name, args = FULL[label]
    data = TABLE_DATA[dataset]
    with torch.device("meta"):
        model = timm.create_model(
            name, num_classes=CLASSES[dataset], img_size=data.img_size, patch_size=data.patch_size, **args
        )
        return model_cost(model, torch.zeros(1, 3, data.img_size, data.img_size))


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Count all models on three sets of different sizes; all of it is exact, whatever the arguments."""
    costs = {label: {dataset: cost(label, dataset) for dataset in SETS} for label in FULL}
    checks = [
        Check.near(
            f"{label}, millions of parameters", costs[label]["CIFAR-10"].parameters / 1e6, millions, share=SLACK
        )
        for label, millions in published.PARAMETERS.items()
    ]
    figure, (axes,) = style.new_figure()
    for look, (label, values) in zip(style.points(), costs.items(), strict=False):
        first = values["CIFAR-10"]
        axes.loglog([first.parameters / 1e6], [first.multiply_adds / 1e6], label=label, **look)
    axes.set(xlabel="parameters, millions", ylabel="multiply-adds, millions", title="CIFAR-10, patch 4")
    style.plain_numbers(axes)
    style.legend_below(figure, [axes], columns=4)
    head = ["model", "parameters", "theirs", *(f"multiply-adds, {dataset}" for dataset in SETS)]
    rows = [
        [
            label,
            f"{values['CIFAR-10'].parameters / 1e6:.2f}",
            f"{published.PARAMETERS[label]:.1f}" if label in published.PARAMETERS else "–",
            *(f"{values[dataset].multiply_adds / 1e6:,.0f}" for dataset in SETS),
        ]
        for label, values in costs.items()
    ]
    text = f"Millions; parameters on CIFAR-10:\n\n{table(head, rows)}\n"
    figures = {label: {name: each._asdict() for name, each in values.items()} for label, values in costs.items()}
    return Outcome("What the models of the paper's table cost", checks, figure, figures, text)
