import io
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import same_color

from brainbert.processing.decoding.figures import (
    _STYLES,
    plot_confusion,
    plot_contacts,
    plot_differences,
    plot_few_shot,
    plot_layers,
    plot_roc,
    plot_scatter,
    plot_systems,
    sort_contacts,
    style_of,
)

BLUE = style_of("pretrained").color


def system(name: str, scores: list[float | None], *, q: float | None = None, role: str = "control") -> dict[str, Any]:
    contacts = [
        {"contact": f"C{place}", "score": score, "interval": [0.6, 0.7], "chance": [0.4, 0.6], "p": 0.2, "q": q}
        for place, score in enumerate(scores)
    ]
    return {"name": name, "label": name, "role": role, "contacts": contacts}


def lines_of(axis, color: str):
    return [line for line in axis.lines if same_color(line.get_color(), color)]


def test_every_system_has_a_look_of_its_own():
    assert len({style.marker for style in _STYLES.values()}) == len(_STYLES)
    assert len({style.color for style in _STYLES.values()}) == len(_STYLES)
    assert len({str(style.dashes) for name, style in _STYLES.items() if name != "fine-tuned"}) == len(_STYLES) - 1


def test_scores_lie_on_their_chance_intervals_first_at_the_top():
    made = [
        {
            "name": "pretrained",
            "label": "A",
            "role": "model",
            "score": 0.8,
            "interval": [0.7, 0.9],
            "chance": [0.4, 0.6],
        },
        {"name": "untrained", "label": "B", "role": "control", "score": 0.7, "interval": None, "chance": None},
    ]
    axis = plot_systems(made, metric="AUROC", chance=0.5).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["A", "B"]
    assert axis.yaxis_inverted()
    bar, dot = lines_of(axis, BLUE)
    assert list(bar.get_xdata()) == [0.7, 0.9]
    assert list(dot.get_xdata()) == [0.8]
    assert axis.collections[0].get_paths()[0].get_extents().intervalx.tolist() == [0.4, 0.6]


def test_a_difference_whose_interval_includes_zero_is_hollow():
    made = [
        {"control": "untrained", "label": "A", "difference": 0.01, "interval": [-0.01, 0.03]},
        {"control": "untrained", "label": "B", "difference": 0.05, "interval": [0.01, 0.09]},
    ]
    axis = plot_differences(made, metric="AUROC").axes[0]
    faces = [line.get_markerfacecolor() for line in axis.lines if line.get_marker() != "None"]
    assert faces == ["white", style_of("untrained").color]


@pytest.mark.parametrize(("contacts", "panels"), [(2, 1), (30, 1), (31, 2), (120, 4)])
def test_contacts_are_drawn_in_rows_of_at_most_thirty(contacts, panels):
    figure = plot_contacts(
        [system("pretrained", list(np.linspace(0.5, 0.9, contacts)))], metric="AUROC", chance=0.5, false_discovery=0.05
    )
    shown = [label.get_text() for axis in figure.axes for label in axis.get_xticklabels()]
    assert len(figure.axes) == panels
    assert shown == [f"C{place}" for place in reversed(range(contacts))]  # from the best to the worst


def test_a_contact_is_filled_where_q_is_at_most_the_false_discovery_rate():
    for q, face in ((0.05, BLUE), (0.06, "white"), (None, "white")):
        made = [system("pretrained", [0.8], q=q), system("untrained", [0.7], q=0.9)]
        axis = plot_contacts(made, metric="AUROC", chance=0.5, false_discovery=0.05).axes[0]
        dots = {line.get_color(): line.get_markerfacecolor() for line in axis.lines if line.get_marker() in "os"}
        assert dots == {BLUE: face, style_of("untrained").color: style_of("untrained").color}


def test_contacts_of_a_system_stay_at_their_names_when_the_order_is_anothers():
    made = [system("pretrained", [0.6, 0.9]), system("untrained", [0.55, 0.75])]
    axis = plot_contacts(made, metric="AUROC", chance=0.5, false_discovery=0.05).axes[0]
    dots = [line for line in lines_of(axis, style_of("untrained").color) if line.get_marker() == "s"]
    assert [(round(dot.get_xdata()[0]), dot.get_ydata()[0]) for dot in dots] == [(0, 0.75), (1, 0.55)]


def test_contacts_are_sorted_by_score_then_name_and_those_without_one_come_last():
    made = [("B", 0.7), ("A", 0.7), ("N", None), ("C", 0.9)]
    assert sort_contacts([{"contact": name, "score": score} for name, score in made]) == ["C", "A", "B", "N"]


CURVES = {"pretrained": {"mean": [0.6, 0.8], "low": [0.5, 0.7], "high": [0.7, 0.9]}}
LABELS = [{"name": "pretrained", "label": "A", "role": "model"}, {"name": "untrained", "label": "B", "role": "control"}]


def test_few_shot_curve_has_a_logarithmic_axis_its_sizes_as_ticks_and_a_chance_line():
    axis = plot_few_shot({"sizes": [8, 1024], "systems": CURVES}, LABELS, metric="AUROC", chance=0.5).axes[0]
    assert axis.get_xscale() == "log"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["8", "1,024"]
    chance, curve = axis.lines
    assert list(chance.get_ydata()) == [0.5, 0.5]
    assert list(curve.get_ydata()) == [0.6, 0.8]
    assert axis.collections[0].get_paths()[0].get_extents().intervaly.tolist() == [0.5, 0.9]


def test_layers_have_a_tick_each():
    axis = plot_layers({"layers": [0, 3], "systems": CURVES}, LABELS, metric="AUROC", chance=0.5).axes[0]
    assert list(axis.get_xticks()) == [0, 3]


def test_roc_names_the_class_that_is_found_and_only_the_systems_that_are_drawn():
    figure = plot_roc(
        {"untrained": {"false_positive": [0, 0.2, 1], "true_positive": [0, 0.7, 1]}}, LABELS, positive="focal"
    )
    assert figure.axes[0].get_ylabel() == "found (share of focal)"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["B"]


def test_confusion_has_shares_of_the_row_with_counts():
    figure = plot_confusion({"classes": ["a", "b"], "counts": [[3, 1], [0, 0]]})
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["75%\n(3)", "25%\n(1)", "0%\n(0)", "0%\n(0)"]


def test_scatter_has_a_line_without_error_from_end_to_end():
    axis = plot_scatter({"target": [1.0, 4.0, None], "prediction": [2.0, 3.0, 9.0]}).axes[0]
    assert list(axis.lines[0].get_xdata()) == list(axis.lines[0].get_ydata()) == [1.0, 9.0]


def test_a_name_with_dollars_and_html_is_drawn_as_it_is():
    made = system("pretrained", [0.8])
    made["contacts"][0]["contact"] = "$\\frac$<b>"
    made["label"] = "a$b$c"
    figure = plot_contacts([made], metric="AUROC", chance=0.5, false_discovery=0.05)
    figure.savefig(io.BytesIO(), format="svg")  # as mathematics this raises
    (label,) = figure.axes[0].get_xticklabels()
    assert label.get_text().replace("\\$", "$") == "$\\frac$<b>"


def test_drawing_leaves_no_figure_behind():
    from matplotlib import _pylab_helpers

    plot_scatter({"target": [0.0, 1.0], "prediction": [0.0, 1.0]})
    assert not _pylab_helpers.Gcf.figs
