"""Plots tell apart what they show."""

from itertools import islice

from training.experiments import style


def test_each_of_many_points_looks_otherwise() -> None:
    looks = [tuple(look.values()) for look in islice(style.points(), 28)]
    assert len(set(looks)) == 28


def test_seeds_are_points_and_their_mean_another() -> None:
    _, (axes,) = style.new_figure()
    style.seeds(axes, {"full model": [3.0, 1.0], "no memory": [5.0]}, reference="full model")
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert drawn == [([2.0, 2.0], [0, 1]), ([3.0, 1.0], [0, 0]), ([2.0], [0]), ([5.0], [1])]  # the first: its mean
    assert [label.get_text() for label in axes.get_yticklabels()] == ["full model", "no memory"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first on top


def test_a_legend_below_names_each_once() -> None:
    figure, panels = style.new_figure(columns=2)
    for axes, labels in zip(panels, (["AiT", "ViT"], ["ViT", "Luna"]), strict=True):
        for look, label in zip(style.points(), labels, strict=False):
            axes.plot([1], [1], label=label, **look)
    style.legend_below(figure, panels)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["AiT", "ViT", "Luna"]
