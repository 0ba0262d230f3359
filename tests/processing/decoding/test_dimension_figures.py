import numpy as np

from brainbert.processing.decoding.dimension_figures import plot_dimension, plot_positions
from brainbert.processing.decoding.figures import style_of

SYSTEMS = [{"name": name, "label": name} for name in ("pretrained", "untrained", "spectrogram")]


def row(contact: str, region: str | None, system: str = "pretrained", **estimates: float | None):
    return {"contact": contact, "region": region, "system": system, "pca95": 5, "participation_ratio": 2.0,
            "two_nn": 3.0} | estimates  # fmt: skip


def test_regions_are_sorted_with_what_is_not_known_last_and_a_panel_an_estimator():
    figure = plot_dimension([row("A1", None), row("A2", "insula"), row("A3", "amygdala")], SYSTEMS)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "PCA components for 95 % of the variance", "Participation ratio", "TwoNN",
    ]  # fmt: skip
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["amygdala", "insula", "region not known"]


def test_systems_stand_side_by_side_in_a_region_and_those_without_rows_are_not_named():
    figure = plot_dimension([row("A1", "insula"), row("A1", "insula", "spectrogram", pca95=9)], SYSTEMS)
    heights = {line.get_color(): (line.get_xdata()[0], line.get_ydata()[0]) for line in figure.axes[0].lines}
    assert heights == {style_of("pretrained").color: (5, -0.2), style_of("spectrogram").color: (9, 0.2)}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["pretrained", "spectrogram"]


def test_a_box_is_drawn_from_five_contacts_on_and_missing_estimates_are_left_out():
    rows = [row(f"A{place}", "insula", pca95=place, two_nn=None if place == 1 else 1.0) for place in range(1, 6)]
    pca, _, two_nn = plot_dimension(rows, SYSTEMS).axes
    median = next(line for line in pca.lines if line.get_linewidth() == 2.5)
    assert list(median.get_xdata()) == [3, 3]
    assert [len(line.get_xdata()) for line in two_nn.lines] == [4]  # dots, no box


def test_positions_have_three_sides_on_one_scale_coloured_by_dimension_and_name_the_frame():
    rows = [row("A1", None, pca95=4), row("A2", None, pca95=9), row("A3", None), row("A4", None, pca95=None)]
    positions = {"frame": "mni", "contacts": {"A1": [0, 10, 20], "A2": [40, 30, 10], "A4": [0, 0, 0]}}
    figure = plot_positions(rows, positions)
    sides = figure.axes[:3]
    assert [(axis.get_xlabel(), axis.get_ylabel()) for axis in sides] == [
        ("x (mm)", "y (mm)"), ("x (mm)", "z (mm)"), ("y (mm)", "z (mm)"),
    ]  # fmt: skip
    assert sides[0].get_title(loc="left") == "frame: mni"
    widths = {round(float(np.ptp(limits)), 6) for axis in sides for limits in (axis.get_xlim(), axis.get_ylim())}
    assert len(widths) == 1
    # The contact that is higher along z lies on top: A1. A3 has no position, A4 no dimension.
    dots = sides[0].collections[0]
    assert dots.get_offsets().tolist() == [[40, 30], [0, 10]]
    assert dots.get_array().tolist() == [9, 4]
    assert dots.get_clim() == (4, 9)
