import numpy as np
import pytest

from brainbert.processing.training import plot_learning_curve
from brainbert.processing.training.figures import spread


def entry(step: int, error: float) -> dict[str, float]:
    baselines = {"mean l1": 0.6, "mean content": 1.6, "interpolation l1": 0.4, "interpolation content": 0.8}
    return {"step": step, "minutes": step / 10, "model l1": error, "model content": 2 * error, **baselines}


def test_a_curve_is_labelled_with_its_last_errors_and_its_baselines():
    losses = [{"step": step, "l1": 0.7, "content": 1.2} for step in range(0, 300, 10)]
    figure = plot_learning_curve([entry(100, 0.62), entry(200, 0.56), entry(300, 0.515)], losses)
    labels = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert set(labels) == {
        "mean 0.600", "interpolation 0.400", "model 0.515", "mean 1.600", "interpolation 0.800", "model 1.030",
    }  # fmt: skip


def test_one_validation_is_enough():
    plot_learning_curve([entry(100, 0.62)])


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_a_model_that_diverged_is_drawn_as_far_as_it_went(error):
    figure = plot_learning_curve([entry(100, 0.62), entry(200, error)])
    figure.draw_without_rendering()
    assert figure.axes[0].get_ylim() == pytest.approx((0.4 - 0.0176, 0.62 + 0.0176))  # .08 of .62 − .4 on each side


def test_time_is_marked_at_the_steps_that_it_belongs_to():
    # 10 minutes for the first 100 steps, 30 for the next 100: 20 minutes are a third of the way from step 100 to 200.
    figure = plot_learning_curve([entry(100, 0.6) | {"minutes": 10}, entry(200, 0.5) | {"minutes": 40}])
    (top,) = figure.axes[0].child_axes
    marks = {label.get_text(): place for label, place in zip(top.get_xticklabels(), top.get_xticks(), strict=True)}
    assert marks["10 min"] == pytest.approx(100)
    assert marks["20 min"] == pytest.approx(400 / 3)


def test_labels_of_equal_errors_stand_a_line_apart_around_their_place():
    assert spread(np.array([0.5, 0.1, 0.5, 0.5]), 0.1).tolist() == pytest.approx([0.4, 0.1, 0.5, 0.6])


def test_a_curve_without_validation_is_refused():
    with pytest.raises(ValueError, match="curve"):
        plot_learning_curve([])
