"""Open ZIP archives of strangers: the table of contents is checked before anything is inflated."""

import struct
from typing import BinaryIO
from zipfile import BadZipFile, LargeZipFile, ZipFile, ZipInfo

from .restricted_pickle import RefusedPickle, shown

MAX_TABLE_BYTES = 4_000_000  # of the table of contents, which zipfile reads at once
MAX_MEMBERS = 20_000


class _ShortReads:
    """A file that refuses to be read in long pieces: zipfile believes the archive how long its table is."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.limit: int | None = MAX_TABLE_BYTES

    def read(self, size: int = -1) -> bytes:
        if self.limit is not None and size > self.limit:
            raise RefusedPickle(f"its table of contents is longer than {self.limit:,} bytes")
        return self._file.read(size) if self.limit is None or size >= 0 else self._file.read(self.limit)


def open_checked(file: BinaryIO) -> ZipFile:
    """Return the ZIP archive in `file`, whose members have names of their own and do not overlap.

    Raises RefusedPickle, whose text goes on after "the file …: ", for a broken archive, one with very many or
    encrypted members, or with names that are absolute, lead upwards or occur twice.
    """
    short = _ShortReads(file)
    try:
        archive = ZipFile(short)
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise RefusedPickle(f"it is a ZIP archive of {len(members):,} members, and {MAX_MEMBERS:,} are the limit")
        end = -1
        for member in sorted(members, key=lambda member: member.header_offset):
            if member.header_offset < max(end, 0):
                raise RefusedPickle(f"the member {shown(member.filename)} of this ZIP archive overlaps another")
            end = data_offset(file, member) + member.compress_size
        if end > archive.start_dir:
            raise RefusedPickle("a member of this ZIP archive is longer than the archive")
    except (BadZipFile, LargeZipFile, struct.error, OSError, ValueError, NotImplementedError) as error:
        if isinstance(error, RefusedPickle):
            raise
        raise RefusedPickle(f"it is a ZIP archive that is cut off or broken ({shown(error)})") from None
    short.limit = None
    names = set()
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or ":" in parts[0]:
            raise RefusedPickle(f"it is a ZIP archive with a member that leads elsewhere, {shown(member.filename)}")
        if member.filename in names:
            raise RefusedPickle(f"it is a ZIP archive with two members called {shown(member.filename)}")
        if member.flag_bits & 0x1:
            raise RefusedPickle(f"it is a ZIP archive with an encrypted member, {shown(member.filename)}")
        names.add(member.filename)
    return archive


def data_offset(file: BinaryIO, member: ZipInfo) -> int:
    """Return where the content of a member begins, past its local header of 30 bytes, name and extra field."""
    file.seek(member.header_offset)
    header = file.read(30)
    signature, name, extra = struct.unpack("<4s22xHH", header)
    if signature != b"PK\x03\x04":
        raise BadZipFile("a member lacks its header")
    return member.header_offset + 30 + name + extra
