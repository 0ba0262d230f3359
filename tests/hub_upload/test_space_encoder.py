"""What the page asks of the model, and how it is drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForPreTraining

from brainbert.hub_upload.space import encoder as encoder_module
from brainbert.hub_upload.space import page, pictures
from brainbert.hub_upload.space.encoder import embed_windows, load_encoder, look, statistics_of
from brainbert.hub_upload.space.masking import mask_cells
from brainbert.hub_upload.space.refusal import Refusal
from brainbert.modeling_brainbert import BrainBertFeatureExtractor, BrainBertForSequenceClassification, BrainBertModel

FIXTURE = Path(__file__).parents[1] / "fixtures" / "tiny"


def noise(contacts: int, seconds: float, seed: int = 0) -> np.ndarray:
    return 30 * np.random.default_rng(seed).standard_normal((contacts, round(seconds * 2048))).astype(np.float32)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(str(FIXTURE))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The fixture's weights without a head, and with a classifier whose labels are markup."""
    root = tmp_path_factory.mktemp("models")
    labels = {0: "move", 1: "<b>rest"}
    for name, model in (
        ("bare", BrainBertModel.from_pretrained(FIXTURE)),
        ("classifier", BrainBertForSequenceClassification.from_pretrained(FIXTURE, id2label=labels)),
    ):
        model.save_pretrained(root / name)
        AutoFeatureExtractor.from_pretrained(FIXTURE).save_pretrained(root / name)
    return root


def test_a_model_says_its_head(encoder, folders):
    heads = [encoder.head, load_encoder(str(folders / "bare")).head, load_encoder(str(folders / "classifier")).head]
    assert heads == ["reconstruction", "", "classification"]


def test_the_page_names_a_folder_without_where_it_lies_and_links_a_model_of_the_hub(encoder):
    assert (encoder.name, encoder.link) == ("tiny", "")
    assert str(FIXTURE.parent) not in page.header(encoder)


def test_window_and_reference_come_from_the_training_record(tmp_path):
    for path in FIXTURE.iterdir():
        (tmp_path / path.name).symlink_to(path)
    record = {"corpora": [{"clip_s": 2.0}], "conditioning": {"reference": "bipolar", "ends": "one-sided"}}
    (tmp_path / "training_record.json").write_text(json.dumps(record))
    trained = load_encoder(str(tmp_path))
    assert trained.window_s == 2.0
    assert trained.conditioning == {"reference": "bipolar", "ends": "one-sided"}


def test_a_look_is_what_the_model_and_its_front_end_give(encoder):
    voltage = noise(1, 5)[0]
    seen = look(encoder, voltage, statistics=None)
    model = AutoModelForPreTraining.from_pretrained(FIXTURE).eval()
    image = AutoFeatureExtractor.from_pretrained(FIXTURE)(voltage, sampling_rate=2048)["input_values"]
    with torch.no_grad():
        frames = model.brainbert(image).last_hidden_state[0]
        made = model(torch.from_numpy(seen.masked)[None]).logits[0]
    np.testing.assert_array_equal(seen.image, image[0])
    np.testing.assert_allclose(seen.frames, frames, atol=1e-6)
    np.testing.assert_allclose(seen.reconstructed, made, atol=1e-6)
    np.testing.assert_array_equal(seen.masked, np.where(seen.mask, 0, seen.image))
    assert seen.error == pytest.approx(np.abs(made.numpy() - seen.image)[seen.mask].mean(), rel=1e-5)
    assert seen.error_of_zero == pytest.approx(np.abs(seen.image[seen.mask]).mean(), rel=1e-6)


def test_without_a_reconstruction_head_the_page_says_so(folders):
    bare = load_encoder(str(folders / "bare"))
    drawn, _ = page.pictures(look(bare, noise(1, 5)[0], statistics=None), bare, contact="A1", start_s=0, artefact=False)
    assert "no reconstruction head" in drawn
    assert "Class scores" not in drawn


def test_class_scores_sum_to_one_and_their_labels_are_text(folders):
    classifier = load_encoder(str(folders / "classifier"))
    seen = look(classifier, noise(1, 5)[0], statistics=None)
    assert sum(seen.scores.values()) == pytest.approx(1)
    drawn, _ = page.pictures(seen, classifier, contact="A1", start_s=0, artefact=False)
    assert "&lt;b&gt;rest" in drawn
    assert "<b>rest" not in drawn


@pytest.mark.parametrize("voltage", [np.zeros(10240), np.full(10240, np.nan), noise(1, 0.3)[0]])
def test_a_window_that_cannot_be_embedded_is_one_sentence(encoder, voltage):
    with pytest.raises(Refusal, match="choose another window") as refused:
        look(encoder, voltage.astype(np.float32), statistics=None)
    assert "on_invalid" not in str(refused.value)


def test_windows_of_the_recording_are_embedded_one_by_one_and_those_without_signal_are_nan(encoder):
    data = noise(2, 16)
    data[1, 10240:20480] = 3.0
    embeddings, starts = embed_windows(encoder, data, window_s=5.0, statistics=None)
    assert embeddings.shape == (3, 2, 24)
    assert starts.tolist() == [0.0, 5.0, 10.0]
    assert np.isnan(embeddings).all(-1).tolist() == [[False, False], [False, True], [False, False]]
    image = encoder.extractor(data[0, 10240:20480], sampling_rate=2048)["input_values"]
    with torch.no_grad():
        np.testing.assert_allclose(embeddings[1, 0], encoder.base.embed(image)[0], atol=1e-6)


def test_a_visitor_waits_for_a_bounded_number_of_windows(encoder, monkeypatch):
    monkeypatch.setattr(encoder_module, "MAX_EMBEDDINGS", 4)
    assert embed_windows(encoder, noise(2, 20), window_s=1.0, statistics=None)[0].shape == (2, 2, 24)


def test_statistics_of_a_recording_are_those_of_its_spectrogram_and_take_a_minute(tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(FIXTURE / name)
    BrainBertFeatureExtractor(normalization="recording").save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path))
    with pytest.raises(Refusal, match="takes 60 s, and this one has 30"):
        statistics_of(encoder, noise(1, 30)[0])
    contact = noise(1, 61)[0]
    found = statistics_of(encoder, contact)
    whole = encoder.extractor(contact, sampling_rate=2048, statistics=found)["input_values"][0]
    assert whole.mean(0).abs().max() < 1e-3
    assert (whole.std(0, correction=0) - 1).abs().max() < 1e-3
    assert look(encoder, contact[:10240], statistics=found).image.shape == (encoder.extractor.num_frames(10240), 40)


def test_hidden_cells_are_whole_frames_and_whole_bands():
    mask = mask_cells(200, 40, seed=0)
    frames, bins = mask.all(1), mask.all(0)
    np.testing.assert_array_equal(mask, frames[:, None] | bins[None, :])
    assert frames.any()
    assert bins.any()
    np.testing.assert_array_equal(mask, mask_cells(200, 40, seed=0))


def test_principal_components_of_a_line_hold_all_of_its_variance():
    steps = np.arange(10.0)
    points, shares = pictures.principal_components(steps[:, None] * np.array([[3.0, 4.0, 0.0]]))
    assert shares == pytest.approx((1, 0))
    np.testing.assert_allclose(np.abs(points[:, 0]), np.abs(steps - 4.5) * 5)
    assert pictures.principal_components(np.ones((4, 3)))[1] == (0, 0)


def test_a_trace_keeps_its_highest_and_lowest_value():
    voltage = noise(1, 5)[0]
    voltage[777], voltage[7777] = 500, -500
    times, values = pictures._envelope(voltage, rate=2048)
    assert (values.max(), values.min()) == (500, -500)
    assert times[values.argmax()] == pytest.approx(777 / 2048, abs=0.01)
    assert len(values) < 1600


def test_pictures_have_no_size_style_or_colour_of_text_of_their_own(encoder):
    seen = look(encoder, noise(1, 5)[0], statistics=None)
    for drawn in page.pictures(seen, encoder, contact="A1", start_s=0, artefact=False):
        assert "<style" not in drawn
        assert "#010203" not in drawn
        assert "currentColor" in drawn
        assert 'width="' not in drawn.partition("<svg")[2].partition(">")[0]
        assert "<metadata" not in drawn or "Matplotlib" not in drawn


def test_names_from_a_file_are_text_on_the_page(encoder):
    name = "<img src=x onerror=alert(1)>"
    prepared = {
        "sampling_rate": 1000.0,
        "duration_s": 60.0,
        "band_hz": [0.5, 200.0],
        "quality": {name: "", "A2": "flat"},
        "sd_uv": {name: 30.0, "A2": 0.0},
        "left_out": {"A2": "flat"},
        "notes": [f"{name} is odd"],
    }
    seen = look(encoder, noise(1, 5)[0], statistics=None)
    written = [
        page.summary(name, prepared, {"reference": "none"}, encoder, told=[name]),
        *page.pictures(seen, encoder, contact=name, start_s=0.0, artefact=True),
        page.windows_picture(seen.frames, np.arange(len(seen.frames)), contact=name, contacts=2, window_s=5.0),
        page.refusal(name),
    ]
    assert not any("<img src" in text for text in written)
    assert "bad: flat" in written[0]
    assert "do not trust" in written[1]
