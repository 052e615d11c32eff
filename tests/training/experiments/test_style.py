"""Plots tell apart what they show."""

from itertools import islice

from training.experiments import style


def test_each_of_many_points_looks_otherwise() -> None:
    looks = [tuple(look.values()) for look in islice(style.points(), 28)]
    assert len(set(looks)) == 28


def test_a_legend_below_names_each_once() -> None:
    figure, panels = style.new_figure(columns=2)
    for axes, labels in zip(panels, (["AiT", "ViT"], ["ViT", "Luna"]), strict=True):
        for look, label in zip(style.points(), labels, strict=False):
            axes.plot([1], [1], label=label, **look)
    style.legend_below(figure, panels)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["AiT", "ViT", "Luna"]
