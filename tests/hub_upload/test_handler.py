"""The endpoint gives what the model gives, and answers everything else in one sentence."""

import base64
import io
import pickle
import shutil
import struct
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from edfio import Edf, EdfSignal

from brainbert.hub_upload import handler as module
from brainbert.hub_upload.handler import EndpointHandler, RefusedInput, read_array
from brainbert.modeling_brainbert import (
    BrainBertConfig,
    BrainBertFeatureExtractor,
    BrainBertForSequenceClassification,
    BrainBertModel,
)

TINY = Path(__file__).parents[1] / "fixtures" / "tiny"
RATE = {"sampling_rate": 2048}


@pytest.fixture(scope="module")
def endpoint():
    return EndpointHandler(str(TINY))


@pytest.fixture(scope="module")
def voltage():
    return (50 * np.random.default_rng(0).standard_normal((3, 2048))).astype(np.float32)


@pytest.fixture(scope="module")
def expected(voltage):
    batch = BrainBertFeatureExtractor.from_pretrained(TINY)(voltage, **RATE)
    with torch.inference_mode():
        return BrainBertModel.from_pretrained(TINY).eval()(**batch).pooler_output.numpy()


def npy(array, **how):
    stream = io.BytesIO()
    np.save(stream, array, **how)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def header(shape, kind="<f4"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def zipped(method=zipfile.ZIP_DEFLATED, /, **members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return stream.getvalue()


def edf(contacts=3, seconds=6, rate=512):
    random = np.random.default_rng(1)
    stream = io.BytesIO()
    signals = [
        EdfSignal(50 * random.standard_normal(seconds * rate), rate, label=f"LA{n}", physical_dimension="uV")
        for n in range(1, contacts + 1)
    ]
    Edf(signals).write(stream)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["array", "mapping", "npy", "npz", "columns first", "base64"])
def test_every_form_of_the_same_voltage_gives_the_models_embeddings(endpoint, voltage, expected, form):
    inputs = {
        "array": voltage.tolist(),
        "mapping": {"voltage": voltage.tolist(), "contacts": ["LA1", "LA2", "LA3"]},
        "npy": npy(voltage),
        "npz": npz(voltage=voltage, sampling_rate=2048, contacts=np.array(["LA1", "LA2", "LA3"])),
        "columns first": npy(np.asfortranarray(voltage.astype(">f8"))),
        "base64": {"file": base64.b64encode(npy(voltage)).decode()},
    }[form]
    answer = endpoint({"inputs": inputs, "parameters": {} if form == "npz" else RATE})
    np.testing.assert_allclose(answer["embeddings"], expected, atol=1e-5)
    assert answer["contacts"] == (["LA1", "LA2", "LA3"] if form in ("mapping", "npz") else None)


def test_one_contact_has_one_embedding_and_a_query_may_be_text(endpoint, voltage, expected):
    answer = endpoint({"inputs": npy(voltage[0]), "parameters": {"sampling_rate": "2048", "layer": "-1"}})
    np.testing.assert_allclose(answer["embeddings"], expected[0], atol=1e-5)


def test_more_contacts_than_a_batch_are_answered_in_order(endpoint, voltage, expected, monkeypatch):
    monkeypatch.setattr(module, "FRAMES_AT_ONCE", 50)  # 2048 samples are 22 frames
    np.testing.assert_allclose(
        endpoint({"inputs": npy(voltage), "parameters": RATE})["embeddings"], expected, atol=1e-5
    )


def test_a_recording_is_conditioned_and_embedded_window_by_window(endpoint):
    answer = endpoint({"inputs": edf(), "parameters": {"line_frequency_hz": 50, "window_s": 2}})
    assert np.shape(answer["embeddings"]) == (3, 1, 24)  # the Laplacian leaves the middle one of three
    assert answer["contacts"] == ["LA2"]
    assert answer["start_s"] == [0, 2, 4]


def test_a_classifier_gives_scores_with_its_labels(tmp_path, voltage):
    torch.manual_seed(0)
    config = BrainBertConfig.from_pretrained(TINY, id2label={0: "rest", 1: "speech"}, label2id={"rest": 0, "speech": 1})
    BrainBertForSequenceClassification(config).save_pretrained(tmp_path)
    BrainBertFeatureExtractor().save_pretrained(tmp_path)
    classifier = EndpointHandler(str(tmp_path))
    scores = classifier({"inputs": npy(voltage), "parameters": RATE})["scores"]
    assert len(scores) == 3
    for each in scores:
        assert {entry["label"] for entry in each} == {"rest", "speech"}
        assert sum(entry["score"] for entry in each) == pytest.approx(1, abs=1e-6)
        assert each[0]["score"] >= each[1]["score"]
    assert (
        "pooling is for embeddings"
        in classifier({"inputs": npy(voltage), "parameters": RATE | {"pooling": "mean"}})["error"]
    )


def test_statistics_of_the_recording_are_taken_and_a_lone_short_array_is_refused(tmp_path, voltage):
    shutil.copytree(TINY, tmp_path / "model")
    extractor = BrainBertFeatureExtractor(normalization="recording")
    extractor.save_pretrained(tmp_path / "model")
    endpoint = EndpointHandler(str(tmp_path / "model"))
    assert "needs statistics=" in endpoint({"inputs": npy(voltage), "parameters": RATE})["error"]
    statistics = {"fingerprint": extractor.fingerprint, "mean": [0.5] * 40, "std": [2.0] * 40}
    answer = endpoint({"inputs": npy(voltage), "parameters": RATE | {"statistics": statistics}})
    assert np.shape(answer["embeddings"]) == (3, 24)
    wrong = endpoint({"inputs": npy(voltage), "parameters": RATE | {"statistics": {"mean": 1}}})
    assert "fingerprint, mean and std" in wrong["error"]


class Boom:
    def __reduce__(self):
        return open, ("must-not-exist", "w")


GOOD = np.ones((2, 2048), np.float32) * np.arange(2048, dtype=np.float32)
BOMB = zipped(voltage__npy=header((1, 2**25), "<f8") + bytes(2**28))
LIES = bytearray(npz(voltage=np.zeros((2, 100_000), np.float32)))
LIES[LIES.index(b"PK\x01\x02") + 24 : LIES.index(b"PK\x01\x02") + 28] = struct.pack("<I", 200)


@pytest.mark.parametrize(
    ("inputs", "parameters", "sentence"),
    [
        (b"", RATE, "The file is empty"),
        (npy(GOOD), {}, "sampling_rate is missing"),
        (npy(GOOD), {"sampling_rate": 512}, "this front end reads 2048 Hz"),
        (npy(GOOD), {"sampling_rate": "nan"}, "sampling_rate is no number"),
        (npy(GOOD), {"sampling_rate": 0}, "sampling_rate is no number"),
        (npy(GOOD), {"sampling_rate": True}, "sampling_rate is no number"),
        (npy(GOOD), {"rate": 2048}, "There is no parameter rate"),
        (npy(GOOD), RATE | {"layer": 99}, "layer is 99"),
        (npy(GOOD), RATE | {"layer": 0.5}, "give a whole number"),
        (npy(GOOD), RATE | {"pooling": "max"}, "pooling has to be center, mean or frames"),
        (npy(GOOD), RATE | {"window_s": 2}, "has 1 s and a window 2 s: give another window_s"),
        (npy(GOOD), RATE | {"window_s": 0.1}, "205 samples (0.1 s) give"),
        (npy(GOOD), RATE | {"line_frequency_hz": 50}, "line_frequency_hz is for recordings"),
        (npy(GOOD), RATE | {"layer": 1e300}, "layer is 1e+300"),
        (npy(GOOD), RATE | {"statistics": {"fingerprint": "", "mean": "x", "std": 1}}, "have to be numbers"),
        (npz(voltage=GOOD, sampling_rate=2048), {"sampling_rate": 512}, "give one of them"),
        (npz(voltage=GOOD, where=GOOD), RATE, "The input holds where"),
        (npz(signal=GOOD), RATE, "holds signal and no voltage"),
        (npz(voltage=GOOD, contacts=np.array(["A"])), RATE, "one short text for each row"),
        (npy(np.where(GOOD == 7, np.nan, GOOD)), RATE, "NaN or infinite values"),
        (npy(np.zeros((2, 2048), np.float32)), RATE, "a flat line"),
        (npy(GOOD[:, :100]), RATE, "100 samples"),
        (npy(np.tile(GOOD[0], 200)), RATE, "the model reads 5,000 at once: give window_s"),
        (npy(GOOD[None]), RATE, "shape (1, 2, 2048)"),
        (npy(GOOD.astype(complex)), RATE, "is of complex128"),
        (npy(np.array([Boom()], dtype=object), allow_pickle=True), RATE, "is of object"),
        (npy(np.zeros((600, 2048), np.int8)), RATE, "600 contacts of 2,048 samples are too many"),
        (header((2**31, 2**31)) + bytes(100), RATE, "claims 4,611,686,018,427,387,904 values"),
        (header((2, 2048)), RATE, "cut off or made up"),
        (npy(GOOD)[:-1], RATE, "cut off or made up"),
        (b"\x93NUMPY\x01\x00\xff\xff{", RATE, "no header of an array"),
        (b"\x93NUMPY\x09\x00", RATE, "no header of an array"),
        (BOMB, RATE, "unpacks to 268,435,584 bytes"),
        (bytes(LIES), RATE, "damaged"),
        (npz(voltage=GOOD)[:-30], RATE, "damaged or cut off"),
        (npz(voltage=GOOD) + b"more", RATE, "damaged or cut off"),
        (zipped(zipfile.ZIP_LZMA, voltage__npy=npy(GOOD)), RATE, "no array with a plain name"),
        (zipped(**{"a/b.npy": npy(GOOD)}), RATE, "no array with a plain name"),
        (zipped(voltage__npy=header((-1, -1)) + bytes(4)), RATE, "made up"),
        (zipped(**{"../../voltage.npy": npy(GOOD)}), RATE, "no array with a plain name"),
        (zipped(**{f"a{n}.npy": b"" for n in range(17)}), RATE, "holds 17 members"),
        (zipped(voltage__npy=pickle.dumps(Boom())), RATE, "no header of an array"),
        (pickle.dumps(Boom()), RATE, "a pickle, which could run anything"),
        (b"Brain Vision Data Exchange Header\nDataFile=../secret.bin", RATE, "a BrainVision header"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), RATE, "HDF5 (NWB)"),
        (b"\xff\xd8\xff\xe0" + bytes(100), RATE, "a picture"),
        (b"\x7fELF" + bytes(100), RATE, "a program"),
        (b"<html>", RATE, "a page"),
        (b"hello", RATE, "neither .npy nor .npz"),
        (edf()[:700], {"line_frequency_hz": 50}, "cannot be read as EDF"),
        (edf(), {}, "line_frequency_hz is missing"),
        (edf(), {"line_frequency_hz": 55}, "use 50 or 60"),
        (edf(), {"line_frequency_hz": 50, "contacts": "LB1,LB2"}, "0 channels are called 'LB1'"),
        (edf(), {"line_frequency_hz": 50, "sampling_rate": 100}, "The request says 100 Hz and the file 512 Hz"),
        (edf(), {"line_frequency_hz": 50, "window_s": 100}, "has 6 s and a window 100 s"),
        ("/etc/passwd", RATE, "nothing is opened or fetched by its name here"),
        ("https://example.org/x.npy", RATE, "nothing is opened or fetched by its name here"),
        ({"file": "../../etc/passwd"}, RATE, "is not base64"),
        ({"file": 5}, RATE, "is no text: give the bytes"),
        ({"voltage": "/etc/passwd"}, RATE, "The input is a text"),
        ({"voltage": GOOD.tolist(), "code": "x"}, RATE, "The input holds code"),
        ([[1, 2], [3]], RATE, "The voltage is ragged"),
        ([[[1.0]]], RATE, "nested three times"),
        ([["a", "b"]], RATE, "no array of real numbers"),
        ([None, 1], RATE, "no array of real numbers"),
        ([True, 1.0], RATE, "no array of real numbers"),
        ([[1.0], [[1.0]]], RATE, "nested three times"),
        ({"voltage": GOOD.tolist(), "contacts": ["\ud800", "B"]}, RATE, "one short text for each row"),
        ({"voltage": GOOD.tolist(), "contacts": 5}, RATE, "one short text for each row"),
        ([10**400, 1], RATE, "beyond any amplifier's"),
        ([1e300] + [1.0] * 2048, RATE, "NaN or infinite values"),
        ([], RATE, "has the shape (0,)"),
        (None, RATE, "no array of real numbers"),
        (GOOD.T.tolist(), RATE, "2,048 contacts of 2 samples"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_sentence(endpoint, tmp_path, monkeypatch, inputs, parameters, sentence):
    monkeypatch.chdir(tmp_path)
    error = endpoint({"inputs": inputs, "parameters": parameters})["error"]
    assert sentence in error
    assert "\n" not in error
    assert len(error) < 400
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("data", [None, [], {}, {"parameters": {}}, {"inputs": 1, "model": "x"}])
def test_requests_without_form_are_refused(endpoint, data):
    assert "error" in endpoint(data)


def test_a_failure_of_ours_says_nothing_of_the_machine(endpoint, monkeypatch):
    def fail(*_):
        raise RuntimeError("/somewhere/secret.py broke")

    monkeypatch.setattr(endpoint, "_run", fail)
    assert endpoint({"inputs": npy(GOOD), "parameters": RATE}) == {
        "error": "The request failed for a reason of ours: the endpoint's log has it."
    }


def test_a_bomb_is_refused_before_it_is_inflated(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("inflated")

    monkeypatch.setattr(zipfile.ZipFile, "open", fail)
    with pytest.raises(RefusedInput, match="unpacks to"):
        read_array(BOMB)


def test_a_directory_of_many_entries_is_refused_before_it_is_read(monkeypatch):
    many = zipped(**{f"a{n}__npy": b"" for n in range(2000)})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(RefusedInput, match="holds 2,000 members"):
        read_array(many)
    lying = bytearray(many)
    lying[-12:-10] = (3).to_bytes(2, "little")  # members, as the end of the directory claims; its size stays
    with pytest.raises(RefusedInput, match="long names"):
        read_array(bytes(lying))


def test_one_long_text_among_many_numbers_takes_no_memory(endpoint):
    # numpy would make 8 GB of it: every value as long as the longest.
    inputs = ["a" * 1000] + [1.0] * 2_000_000
    tracemalloc.start()
    error = endpoint({"inputs": inputs, "parameters": RATE})["error"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "no array of real numbers" in error
    assert peak < 2**20


def test_what_is_wrong_with_a_contact_names_it_in_whatever_batch_it_is(endpoint, monkeypatch):
    monkeypatch.setattr(module, "FRAMES_AT_ONCE", 44)  # two contacts
    broken = np.tile(GOOD, (3, 1))
    broken[4] = 1
    assert (
        "contact (row) 4 holds a flat line: leave it out."
        in endpoint({"inputs": npy(broken), "parameters": RATE})["error"]
    )
    names = [f"LA{n}" for n in range(1, 7)]
    named = endpoint({"inputs": {"voltage": broken.tolist(), "contacts": names}, "parameters": RATE})["error"]
    assert "contact LA5 holds a flat line" in named
    broken[4, :1500] = -np.arange(1500)
    warned = endpoint({"inputs": {"voltage": broken.tolist(), "contacts": names}, "parameters": RATE})["warnings"]
    assert len(warned) == 1
    assert "samples of contact LA5 lie at its very maximum" in warned[0]


def test_windows_equal_the_same_stretches_alone_and_one_without_signal_is_null(endpoint, voltage):
    longer = np.concatenate([voltage, voltage[:, ::-1], voltage[:, :100]], axis=1)
    longer[1, 2048:4096] = 7
    answer = endpoint({"inputs": npy(longer), "parameters": RATE | {"window_s": 1}})
    assert answer["start_s"] == [0, 1]
    assert answer["embeddings"][1][1] is None
    alone = endpoint({"inputs": npy(longer[0, 2048:4096]), "parameters": RATE})["embeddings"]
    np.testing.assert_allclose(answer["embeddings"][1][0], alone, atol=1e-6)


def test_an_answer_that_is_too_large_or_takes_too_long_is_refused(endpoint, voltage, monkeypatch):
    monkeypatch.setattr(module, "MAX_RESULT", 3 * 22 * 24 - 1)  # contacts, frames, hidden
    refused = endpoint({"inputs": npy(voltage), "parameters": RATE | {"pooling": "frames"}})["error"]
    assert "would have 1,584 numbers and 1,583 are the limit" in refused
    monkeypatch.setattr(module, "MAX_COMPUTING_S", -1)
    assert "Computing takes longer" in endpoint({"inputs": npy(voltage), "parameters": RATE})["error"]


def test_a_recording_has_its_own_statistics_where_the_extractor_wants_some(tmp_path):
    shutil.copytree(TINY, tmp_path / "model")
    BrainBertFeatureExtractor(sampling_rate=512, normalization="recording").save_pretrained(tmp_path / "model")
    endpoint = EndpointHandler(str(tmp_path / "model"))
    asked = {"line_frequency_hz": 0, "window_s": 30}
    assert "needs statistics=" in endpoint({"inputs": edf(seconds=59), "parameters": asked})["error"]
    answer = endpoint({"inputs": edf(seconds=61), "parameters": asked})
    assert np.shape(answer["embeddings"]) == (2, 1, 24)
    assert answer["left_out"].keys() == {"LA1", "LA3"}
    assert answer["conditioning"]["reference"] == "laplacian"


def test_nothing_of_a_recording_stays_on_the_machine_or_in_its_log(endpoint, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    capfd.readouterr()
    answer = endpoint({"inputs": edf(), "parameters": {"line_frequency_hz": 50, "window_s": 2}})
    assert "Kept by name as sEEG (3): LA1, LA2, LA3" in answer["warnings"][0]
    assert list(tmp_path.iterdir()) == []
    assert "LA1" not in "".join(capfd.readouterr())


def test_statistics_of_other_contacts_are_refused(endpoint, voltage):
    statistics = {"fingerprint": "x", "mean": [[0.5] * 40] * 2, "std": [[2.0] * 40] * 2}
    answer = endpoint({"inputs": npy(voltage), "parameters": RATE | {"statistics": statistics}})
    assert answer["error"] == "The statistics are not of 3 contacts: give a row for each, in their order."


def test_an_array_of_nothing_with_an_endless_shape_is_refused():
    with pytest.raises(RefusedInput, match="made up"):
        read_array(header((0, 10**21)))


def test_requests_in_several_threads_leave_warnings_and_output_as_they_were(endpoint, voltage):
    before, filters = sys.stderr, list(warnings.filters)
    request = {"inputs": edf(seconds=2), "parameters": {"line_frequency_hz": 50, "window_s": 1}}
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(endpoint, [request] * 6))
    assert all(answer == answers[0] for answer in answers)
    assert sys.stderr is before
    assert warnings.filters == filters
