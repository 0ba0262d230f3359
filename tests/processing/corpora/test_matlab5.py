"""MATLAB files: the numbers that SciPy wrote, and one sentence for everything else."""

import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from brainbert.processing.corpora.matlab5 import read_matlab


def written(folder, variables, **settings):
    path = folder / "a.mat"
    savemat(path, variables, **settings)
    return path


@pytest.mark.parametrize("do_compression", [False, True])
@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8"])
def test_numbers_are_those_that_scipy_wrote(tmp_path, kind, do_compression):
    data = (np.arange(12).reshape(3, 4) * 7 % 11).astype(kind)
    path = written(tmp_path, {"before": "text", "data": data, "z": [1.5]}, do_compression=do_compression)
    read = read_matlab(path, variable="data", most_values=12)
    np.testing.assert_array_equal(read, data)
    assert read.dtype == data.dtype


def test_a_file_of_a_big_endian_machine_whose_doubles_are_stored_as_bytes_is_read(tmp_path):
    parts = struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">IIii", 5, 8, 1, 3)
    # Up to four bytes lie in their tag.
    parts += struct.pack(">HH4s", 4, 1, b"data") + struct.pack(">HH4s", 3, 2, b"\x01\x02\x03\x00")
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(parts)) + parts)
    np.testing.assert_array_equal(read_matlab(path, variable="data", most_values=3), [[1.0, 2.0, 3.0]])


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"other": [1.0]}, "'a.mat' has 0 variables called 'data'; it needs one: copy it again."),
        ({"data": [1j]}, "'a.mat' holds no real numbers as 'data'; copy it again."),
        ({"data": "text"}, "'a.mat' holds no real numbers as 'data'; copy it again."),
        ({"data": {"a": 1}}, "'a.mat' holds no real numbers as 'data'; copy it again."),
        ({"data": np.zeros((1, 101))}, "'a.mat' holds (1, 101) values, more than 100; copy it again."),
    ],
)
def test_other_variables_are_refused_in_a_sentence(tmp_path, variables, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        read_matlab(written(tmp_path, variables), variable="data", most_values=100)


def test_80_megabytes_in_78_kilobytes_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    path = written(tmp_path, {"data": np.zeros((1, 10**7))}, do_compression=True)
    assert path.stat().st_size < 80_000
    unpacked = []
    make = zlib.decompressobj

    class Counted:
        def __init__(self):
            self.inner = make()

        def decompress(self, raw, most):
            unpacked.append(self.inner.decompress(raw, most))
            return unpacked[-1]

        eof = property(lambda self: self.inner.eof)

    monkeypatch.setattr(zlib, "decompressobj", Counted)
    with pytest.raises(ValueError, match=r"holds \(1, 10000000\) values, more than 15000"):
        read_matlab(path, variable="data", most_values=15000)
    assert sum(map(len, unpacked)) == 8 * 15000 + 4096


@pytest.mark.parametrize("do_compression", [False, True])
def test_500_damaged_files_give_numbers_or_one_sentence(tmp_path, do_compression):
    path = written(tmp_path, {"data": np.arange(40.0)}, do_compression=do_compression)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refusals = []
    for _ in range(500):
        damaged = bytearray(whole)
        for place in rng.integers(120, len(whole), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(100, len(whole))] if rng.random() < 0.3 else damaged)
        try:
            with warnings.catch_warnings(action="error"):
                read_matlab(path, variable="data", most_values=40)
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) > 200
    assert all(re.fullmatch(r"'a\.mat' [^\n]*[^.\n]\.", message) and ". " not in message for message in refusals)
