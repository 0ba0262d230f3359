"""Hostile and broken files: each is refused in one sentence, and nothing of it runs."""

import io
import mmap
import pickle
import re
import struct
import tarfile
import tracemalloc
import zipfile
from collections import OrderedDict, defaultdict

import pytest
import torch
from omegaconf import OmegaConf

from brainbert.processing import checked_zip
from brainbert.processing.restricted_pickle import Inert, Limits, RefusedPickle, read_pickle
from brainbert.processing.torch_files import read_torch_file

COMMAND = "touch it_ran"  # the tests run in a folder of their own


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def name(place):
    module, _, attribute = place.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def call(place, *arguments):
    """Bytes that call what `place` names with pickled arguments."""
    return name(place) + b"(" + b"".join(arguments) + b"tR"


def storage(key="0", count=4, kind="torch.FloatStorage"):
    """Bytes of the persistent id of a storage."""
    return b"(" + text("storage") + name(kind) + text(key) + text("cpu") + integer(count) + b"tQ"


def integer(value):
    return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)


def tensor(offset=0, sizes=(4,), strides=(1,), hooks=b"}", claimed=None):
    shape = b"".join(b"(" + b"".join(map(integer, numbers)) + b"t" for numbers in (sizes, strides))
    return call("torch._utils._rebuild_tensor_v2", claimed or storage(), integer(offset), shape, b"\x89", hooks)


def archive(path, content, *, members=(), order=b"little", **kwargs):
    """A file in torch's ZIP format, with `content` for its pickle and four float32 zeros for its storage 0."""
    with zipfile.ZipFile(path, "w", **kwargs) as file:
        for member, data in (("a/data.pkl", content), ("a/byteorder", order), ("a/data/0", bytes(16)), *members):
            file.writestr(member, data)
    return path


FOUR = struct.pack("<q", 4) + bytes(16)  # four float32 zeros, as the format before ZIP has them


def legacy(path, content, *, keys=("0",), data=FOUR):
    """The same in the format before."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    path.write_bytes(magic + pickle.dumps(system, 2) + content + pickle.dumps(list(keys), 2) + data)
    return path


def refusal(path):
    """The sentence that refuses a file."""
    with pytest.raises(RefusedPickle) as refused:
        read_torch_file(path)
    sentence = str(refused.value)
    assert sentence.isprintable(), sentence
    assert sentence.endswith("."), sentence
    assert not sentence.endswith(".."), sentence
    assert len(sentence) < 500
    return sentence


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Everything happens in a folder where a command that ran would leave a file."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "it_ran").exists()


# Tuples of twice the tuple before.
BOMB = b"K\x01\x85q\x00" + b"".join(b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))
NODE = name("omegaconf.nodes.AnyNode") + b")\x81"
HOSTILE = {
    "os.system": (call("os.system", text(COMMAND)), "it names os.system, which is neither"),
    "posix.system": (call("posix.system", text(COMMAND)), "it names posix.system"),
    "subprocess": (call("subprocess.Popen", text(COMMAND)), "it names subprocess.Popen"),
    "eval": (call("builtins.eval", text("__import__('os')")), "it names builtins.eval"),
    "exec of Python 2": (call("__builtin__.exec", text("1")), "it names __builtin__.exec"),
    "getattr": (call("builtins.getattr", name("typing.Any"), text("x")), "it names builtins.getattr"),
    "import": (call("builtins.__import__", text("os")), "it names builtins.__import__"),
    "only a name": (name("os.system"), "it names os.system"),
    "name from the stack": (text("os") + text("system") + b"\x93" + text(COMMAND) + b"\x85R", "it names os.system"),
    "name within a name": (
        text("omegaconf.nodes") + text("AnyNode.__init__.__globals__") + b"\x93",
        "it names omegaconf.nodes.AnyNode.__init__.__globals__",
    ),
    "name that is no text": (b"K\x01K\x02\x93", "it names something without a name"),
    "name with escapes": (name("os.\x1b[2Jsystem"), r"it names os.\?\[2Jsystem"),
    "INST": (b"(" + text(COMMAND) + b"ios\nsystem\n", "the instruction INST"),
    "OBJ": (b"(" + name("typing.Any") + text(COMMAND) + b"o", "the instruction OBJ"),
    "NEWOBJ": (name("subprocess.Popen") + text(COMMAND) + b"\x85\x81", "it names subprocess.Popen"),
    "NEWOBJ_EX": (name("collections.OrderedDict") + b")}\x92", "the instruction NEWOBJ_EX"),
    "EXT1": (b"\x82\x01", "the instruction EXT1"),
    "PERSID": (b"Pstorage\n", "the instruction PERSID"),
    "in the settings": (
        NODE + b"}" + text("_val") + call("os.system", text(COMMAND)) + b"sb", "it names os.system",
    ),
    "omegaconf, but no node": (
        call("omegaconf.omegaconf.OmegaConf.register_new_resolver", text("a")),
        "it names omegaconf.omegaconf.OmegaConf.register_new_resolver",
    ),
    "module within omegaconf": (name("omegaconf.nodes.sys"), "it names omegaconf.nodes.sys"),
    "torch.load": (call("torch.load", text("other.pth")), "it names torch.load"),
    "torch.hub": (call("torch.hub.load", text("a/b"), text("c")), "it names torch.hub.load"),
    "parameter with state": (
        call("torch._utils._rebuild_parameter_with_state", b"N\x89}}"),
        "it names torch._utils._rebuild_parameter_with_state",
    ),
    "tensor subclass": (call("torch._tensor._rebuild_from_type_v2", b"N"), "it names torch._tensor._rebuild_from_type"),
    "module": (name("torch.nn.modules.linear.Linear") + b")\x81", "it names torch.nn.modules.linear.Linear"),
    "sparse": (call("torch._utils._rebuild_sparse_tensor", b"N"), "it names torch._utils._rebuild_sparse_tensor"),
    "quantised": (storage(kind="torch.QInt8Storage"), "it names torch.QInt8Storage"),
    "hook": (tensor(hooks=b"}K\x01" + name("os.system") + b"s"), "it names os.system"),
    "hook that is admitted": (tensor(hooks=b"}K\x01" + name("typing.Any") + b"s"), "backward hooks"),
    "hook of a parameter": (
        call("torch._utils._rebuild_parameter", tensor(), b"\x89", b"}K\x01K\x02s"), "backward hooks"
    ),
    "attributes of a function": (
        name("torch._utils._rebuild_tensor_v2") + b"N}" + text("__code__") + b"Ns\x86b", "attributes of a Named"
    ),
    "attributes of a tensor": (tensor() + b"}" + text("_backward_hooks") + b"Nsb", "attributes of a Tensor"),
    "__setstate__ twice": (NODE + b"}" + text("__setstate__") + b"Nsb}b", "attributes of a Inert"),
    "call of a type": (call("typing.Any"), "it calls typing.Any"),
    "call of text": (text("os.system") + text(COMMAND) + b"\x85R", "it calls a str"),
    "call of a stand-in": (NODE + b")R", "it calls a Inert"),
    "appending to a stand-in": (NODE + b"K\x01a", "applies APPEND to a Inert"),
    "setting in a stand-in": (NODE + b"(K\x01K\x02u", "applies SETITEMS to a Inert"),
    "list as a key": (b"}]K\x01s", "it has a list as a key"),
    "tuple as a key": (b"}K\x01\x85K\x01s", "it has a tuple as a key"),
    "large number as a key": (b"}" + integer(2**61) + b"K\x01s", "it has a int as a key"),
    "bytes of a module": (b"(" + text("module") + b"tQ", "something else than bytes of tensors"),
    "storage of a strange kind": (b"(" + text("storage") + text("os") + text("0") * 2 + b"K\x04tQ", "in a way"),
    "storage of 4 TB": (tensor(claimed=storage(count=2**40)), "claim"),
    "storage of less than nothing": (tensor(claimed=storage(count=-1)), "in a way"),
    "offset outside": (tensor(offset=1), "up to number 5 of a storage that holds 4"),
    "huge offset": (tensor(offset=2**61, sizes=(0,)), "of a storage that holds 4"),
    "negative offset": (tensor(offset=-1, sizes=(1,)), "negative or no whole number"),
    "strides outside": (tensor(sizes=(2, 2), strides=(3, 1)), "up to number 5 of a storage that holds 4"),
    "negative strides": (tensor(strides=(-1,)), "negative or no whole number"),
    "strides of zero": (tensor(sizes=(10**9,), strides=(0,)), "1,000,000,000 elements"),
    "sizes that overflow": (tensor(sizes=(2**31, 2**31, 4), strides=(0, 0, 0)), "elements, up to number 1 of"),
    "hundred dimensions": (tensor(sizes=(1,) * 100, strides=(1,) * 100), "more than 16 dimensions"),
    "references that multiply": (BOMB, "more than 1,000,000 values when its references are followed"),
    "deep nesting": (b"(" * 1000 + b"t" * 1000, "nested more than 64 deep"),
    "a list within itself": (b"]q\x00h\x00a", "nested more than 64 deep"),
    "half a million instructions": (b"(" + b"N" * 500_001 + b"t", "more than 500,000 instructions"),
    "large number": (b"\x8b" + struct.pack("<i", 1000) + bytes(1000), "the instruction LONG4"),
    "large frame": (b"\x95" + struct.pack("<Q", 2**62) + b"N", "has FRAME"),
    "protocol of the future": (b"\x80\x09N", "has PROTO 9"),
    "text longer than the file": (b"X\xff\xff\xff\x7fabc", "cut off or broken"),
    "unknown instruction": (b"\xff", "cut off or broken"),
    "nothing to call": (b"R", "lacks its operands"),
    "unknown reference": (b"h\x07", "lacks its operands"),
    "no mark": (b"Nt", "lacks its operands"),
    "two values": (b"NN", "ends with 2 values"),
    "no value": (b"", "ends with 0 values"),
}  # fmt: skip
# A list of a thousand pairs, and a call that makes a dictionary of it, a hundred thousand times.
HOSTILE["calls that copy"] = (
    b"]("
    + b"K\x01K\x02\x86" * 1000
    + b"eq\x00"
    + name("collections.OrderedDict")
    + b"q\x01"
    + b"h\x01h\x00\x85R" * 9999,
    "its calls copy more than 1,000,000 values",
)


def test_the_command_in_these_files_works(folder):
    pickle.loads(b"\x80\x02" + HOSTILE["os.system"][0] + b".")
    (folder / "it_ran").unlink()  # FileNotFoundError if it had not run


@pytest.mark.parametrize("write", [archive, legacy])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_run_nothing_and_end_in_one_sentence(folder, write, case):
    content, message = HOSTILE[case]
    sentence = refusal(write(folder / "hostile.pth", b"\x80\x02" + content + b"."))
    assert sentence.startswith(f"{folder / 'hostile.pth'} is refused: ")
    assert re.search(message, sentence), sentence


@pytest.mark.parametrize("case", ["references that multiply", "storage of 4 TB", "strides of zero"])
def test_bombs_take_little_memory(folder, case):
    path = archive(folder / "bomb.pth", b"\x80\x02" + HOSTILE[case][0] + b".")
    tracemalloc.start()
    try:
        refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 64_000_000
    finally:
        tracemalloc.stop()


def test_tensors_together_are_not_much_larger_than_the_file(folder):
    view = (
        name("torch._utils._rebuild_tensor_v2")
        + b"q\x01("
        + storage("1", 1000)
        + b"K\x00M\xe8\x03\x85K\x01\x85\x89}tq\x02R"
    )
    content = b"\x80\x02(" + view + b"h\x01h\x02R" * 99 + b"t."
    path = archive(folder / "views.pth", content, members=[("a/data/1", bytes(4000))])
    assert "more than 4 times as large as the file" in refusal(path)


def zipped(folder, change):
    """A ZIP archive whose bytes `change` has changed."""
    path = archive(folder / "changed.pth", b"\x80\x02" + tensor() + b".")
    path.write_bytes(change(path.read_bytes()))
    return path


MEMBERS = {
    "leads upwards": ("a/../../it_ran", "a member that leads elsewhere, a/../../it_ran"),
    "is absolute": ("/it_ran", "a member that leads elsewhere, /it_ran"),
    "is on a drive": ("C:\\it_ran", "a member that leads elsewhere, C:"),
    "occurs twice": ("a/data/0", "two members called a/data/0"),
    "has a second pickle": ("b/data.pkl", "without the data.pkl of torch.save"),
    "is a program": ("a/constants.pkl", "it is a TorchScript program"),
    "is a name with escapes": ("../\x1b[2J", r"leads elsewhere, \.\./\?\[2J"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", MEMBERS)
def test_archives_whose_member(folder, case):
    member, message = MEMBERS[case]
    path = archive(folder / "hostile.pth", b"\x80\x02N.", members=[(member, b"x")])
    assert re.search(message, refusal(path))
    assert [each.name for each in folder.iterdir()] == ["hostile.pth"]


def test_archives_that_are_not_torch_s(folder, monkeypatch):
    bomb = archive(folder / "bomb.pth", bytes(50_000_000) + b".", compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 100_000
    assert "a/data.pkl is compressed, and torch.save compresses none" in refusal(bomb)
    with zipfile.ZipFile(folder / "other.zip", "w") as file:
        file.writestr("readme.txt", "x")
    assert "without the data.pkl of torch.save" in refusal(folder / "other.zip")
    big = archive(folder / "big.pth", b"N." + bytes(16_000_000))
    assert "its pickle has more than 16,000,000 bytes" in refusal(big)
    assert "big-endian" in refusal(archive(folder / "big.pth", b"N.", order=b"big"))
    monkeypatch.setattr(checked_zip, "MAX_MEMBERS", 2)
    assert "3 members, and 2 are the limit" in refusal(archive(folder / "many.pth", b"N."))


def test_damaged_archives(folder):
    whole = archive(folder / "whole.pth", b"\x80\x02" + tensor() + b".").read_bytes()
    for length in (1, 3, 10, 40, 200, len(whole) // 2, len(whole) - 60, len(whole) - 1):
        refusal(zipped(folder, lambda content, length=length: content[:length]))
    position = whole.index(b"_rebuild_tensor_v2")
    swapped = whole[:position] + b"_rebuild_tensor_v3" + whole[position + 18 :]
    assert "a/data.pkl is damaged" in refusal(zipped(folder, lambda content: swapped))
    # The table says that the storage begins where the pickle does.
    table = whole.index(b"PK\x01\x02", whole.index(b"PK\x01\x02", whole.index(b"PK\x01\x02") + 4) + 4)
    overlapping = whole[: table + 42] + bytes(4) + whole[table + 46 :]
    assert "overlaps another" in refusal(zipped(folder, lambda content: overlapping))
    # It says that the table itself is 2 GB long.
    long = whole[:-10] + struct.pack("<I", 2**31) + whole[-6:]
    refusal(zipped(folder, lambda content: long))


def test_broken_files_of_the_format_before_zip(folder):
    path, content = folder / "legacy.pth", b"\x80\x02" + tensor() + b"."
    whole = legacy(path, content).read_bytes()
    assert torch.equal(read_torch_file(path), torch.zeros(4))
    for length in (1, 10, 30, 140, 300, len(whole) - 30, len(whole) - 24, len(whole) - 1):
        path.write_bytes(whole[:length])
        refusal(path)
    assert "the list of its tensors does not fit" in refusal(legacy(path, content, keys=["0", "1"]))
    assert "the list of its tensors does not fit" in refusal(legacy(path, content, keys=[["0"]]))
    assert "its tensors are damaged" in refusal(legacy(path, content, data=struct.pack("<q", 2**40) + bytes(16)))
    two = call("torch._utils._rebuild_tensor_v2", storage(count=2), b"K\x00", b"K\x01\x85", b"K\x01\x85", b"\x89", b"}")
    assert "disagree how long the storage 0 is" in refusal(legacy(path, b"\x80\x02" + tensor() + two + b"\x86."))


def test_files_that_are_something_else(folder):
    def named(name, content):
        (folder / name).write_bytes(content)
        return folder / name

    assert "it is empty" in refusal(named("empty", b""))
    assert "neither a ZIP archive nor a binary pickle" in refusal(named("text", b"contact,voltage\n1,2\n" * 100))
    assert "neither a ZIP archive nor a binary pickle" in refusal(
        named("text.pkl", b"cos\nsystem\n(S'touch it_ran'\ntR.")
    )
    assert "it is a pickle, but not one of torch.save" in refusal(named("pickle", pickle.dumps({"a": 1}, 2)))
    assert "it names os.system" in refusal(named("hostile", b"\x80\x02" + HOSTILE["os.system"][0] + b"."))
    assert "it is a safetensors file" in refusal(named("safetensors", struct.pack("<Q", 2) + b"{}" + bytes(9)))
    with tarfile.open(folder / "tar", "w") as file:
        file.addfile(tarfile.TarInfo("../it_ran"), io.BytesIO())
    assert "it is a tar archive, torch's format before version 0.1.10" in refusal(folder / "tar")
    assert refusal(folder) == f"{folder} is a folder: give a file that torch.save wrote."
    with pytest.raises(FileNotFoundError):
        read_torch_file(folder / "missing")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("archived", [True, False])
def test_what_torch_saves_comes_back(folder, protocol, archived):
    base = torch.arange(24.0)
    saved = {
        "transposed": base.view(4, 6).t()[1:],
        "same storage": base[3:5],
        "types": [torch.ones(2, dtype=each) for each in (torch.float64, torch.bfloat16, torch.int8, torch.bool)],
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(7),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "plain": [1, -(2**70), 0.5, None, True, "µV", b"\x00\xff", (1, (2,)), {"a": {1: []}}, {1, 2}, defaultdict(int)],
        "state": torch.nn.Linear(2, 3).state_dict(),  # has an attribute, _metadata
        "size": torch.Size([2, 3]),
    }
    torch.save(saved, "saved.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=archived)
    read = read_torch_file(folder / "saved.pth")
    for key in ("transposed", "same storage", "empty", "scalar", "parameter"):
        assert torch.equal(read[key], saved[key].detach()), key
    for ours, theirs in zip(read["types"], saved["types"], strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
    assert read["plain"] == saved["plain"]
    assert type(read["state"]) is OrderedDict
    assert all(torch.equal(value, saved["state"][key]) for key, value in read["state"].items())
    assert read["size"] == (2, 3)
    read["transposed"][:] = 0
    assert not read["same storage"].any()


def test_settings_become_stand_ins_with_their_state(folder):
    whole = OmegaConf.create({"model": {"nhead": 4, "rate": 0.5, "list": [1, None]}, "task": "${model.nhead}"})
    torch.save(whole.model, "saved.pth")
    read = read_torch_file(folder / "saved.pth")
    assert isinstance(read, Inert)
    assert repr(read) == "<stands for omegaconf.dictconfig.DictConfig>"
    assert read.state["_content"]["nhead"].state["_val"] == 4
    assert read.state["_content"]["list"].name == "omegaconf.listconfig.ListConfig"
    assert read.state["_parent"].state["_content"]["task"].state["_val"] == "${model.nhead}"


def test_which_names_are_admitted_is_an_argument():
    content = b"\x80\x02" + call("fractions.Fraction", text("1/3")) + b"."
    with pytest.raises(RefusedPickle, match=r"it names fractions\.Fraction"):
        read_pickle(io.BytesIO(content))
    assert read_pickle(io.BytesIO(content), admitted={"fractions.Fraction": lambda value: ["for", value]}) == [
        "for",
        "1/3",
    ]


def test_how_large_a_pickle_may_be_is_an_argument():
    made = name("collections.OrderedDict") + b"](" + b"K\x01K\x02\x86" * 3 + b"e\x85R"
    content = b"\x80\x02" + made + b"."
    read_pickle(io.BytesIO(content))
    for limits, message in (
        (Limits(bytes=20), "more than 500,000 instructions or 20 bytes"),
        (Limits(opcodes=5), "more than 5 instructions or 16,000,000 bytes"),
        (Limits(handed=2), "its calls copy more than 2 values"),
    ):
        with pytest.raises(RefusedPickle, match=message):
            read_pickle(io.BytesIO(content), limits=limits)
    with pytest.raises(RefusedPickle, match="more than 2 values when its references are followed"):
        read_pickle(io.BytesIO(b"\x80\x02(NNNt."), limits=Limits(values=2))


def test_long_bytes_of_protocols_4_and_5_come_back_from_a_mapped_file(folder):
    saved = [b"\x00\xff", bytearray(b"\x00\xff")]
    content = b"\x80\x05]\x8e" + struct.pack("<Q", 2) + saved[0] + b"a\x96" + struct.pack("<Q", 2) + saved[1] + b"a."
    assert pickle.loads(content) == saved
    for end in (len(content), len(content) - 4):
        (folder / "mapped").write_bytes(content[:end])
        with (folder / "mapped").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            if end == len(content):
                assert read_pickle(mapped) == saved
            else:
                with pytest.raises(RefusedPickle, match="cut off"):
                    read_pickle(mapped)
