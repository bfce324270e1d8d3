"""A bucket as S3 serves it to anybody: `GET /<bucket>?list-type=2`, objects, ranges; https://docs.aws.amazon.com/AmazonS3.

A page of a listing holds fewer keys than were asked for where files have to be made first: S3 may do that too, and says
IsTruncated. Only reading, only version 2 of the listing, only paths with the bucket in front.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from xml.sax.saxutils import escape

from alphaforge_assets.sandbox.vision import BUCKET, Vision
from alphaforge_assets.sandbox.wire import Reply

KEYS_MAX = 1000
MADE_A_PAGE_MAX = 12
_XML = (("content-type", "application/xml"),)


@dataclass(frozen=True)
class Page:
    """What a listing found: keys and common prefixes in order, and where to go on."""

    entries: list[str]
    is_truncated: bool


def is_of_bucket(path: str) -> bool:
    """Whether a path is the bucket's."""
    return path.rstrip("/") == f"/{BUCKET}" or path.startswith(f"/{BUCKET}/")


def answer(vision: Vision, path: str, query: Mapping[str, str], byte_range: str) -> Reply:
    """What the bucket says to a GET (or to a HEAD, of which only the head is sent)."""
    key = path.removeprefix(f"/{BUCKET}").removeprefix("/")
    if not key:
        return _listing(vision, query)
    found = vision.get(key)
    if found is None:
        return _error(404, "NoSuchKey", "The specified key does not exist.", key)
    headers = [
        ("content-type", "application/zip" if key.endswith(".zip") else "binary/octet-stream"),
        ("etag", f'"{found.etag}"'),
        ("last-modified", format_datetime(_moment(found.modified_ms), usegmt=True)),
        ("accept-ranges", "bytes"),
    ]
    size, (first, last) = len(found.body), _range(byte_range, len(found.body))
    if first >= size and byte_range:
        return _error(416, "InvalidRange", "The requested range is not satisfiable", key)
    if byte_range:
        headers.append(("content-range", f"bytes {first}-{last}/{size}"))
    return Reply(found.body[first : last + 1], 206 if byte_range else 200, 0, tuple(headers))


def _range(text: str, size: int) -> tuple[int, int]:
    first, _, last = text.removeprefix("bytes=").partition("-")
    return int(first or 0), min(size - 1, int(last)) if last else size - 1


def _listing(vision: Vision, query: Mapping[str, str]) -> Reply:
    if query.get("list-type") != "2":
        return _error(400, "InvalidArgument", "this sandbox speaks version 2 of the listing only", BUCKET)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    if delimiter not in ("", "/"):
        return _error(400, "InvalidArgument", "the delimiter is / or none", BUCKET)
    after = query.get("continuation-token") or query.get("start-after", "")
    keys_max = max(1, min(KEYS_MAX, int(query.get("max-keys") or KEYS_MAX)))
    is_endless = vision.is_wrong(prefix, "endless")
    page = _page(vision, _walk(vision, "", prefix, "" if is_endless else after, delimiter), keys_max)
    is_truncated, token = page.is_truncated or is_endless, f"{after}~" if is_endless else (page.entries or [""])[-1]
    body = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    ]
    body.append(f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page.entries)}</KeyCount>")
    body.append(f"<MaxKeys>{keys_max}</MaxKeys>" + (f"<Delimiter>{delimiter}</Delimiter>" if delimiter else ""))
    body.append(f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>")
    if is_truncated:
        body.append(f"<NextContinuationToken>{escape(token)}</NextContinuationToken>")
    entries = [_entry(vision, entry) for entry in page.entries]
    return Reply("".join([*body, *entries, "</ListBucketResult>"]).encode(), 200, len(page.entries), _XML)


def _entry(vision: Vision, key: str) -> str:
    if key.endswith("/"):
        return f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>"
    found = vision.get(key)
    assert found is not None  # noqa: S101 - it was just listed
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>{_moment(found.modified_ms):%Y-%m-%dT%H:%M:%S}.000Z"
        f"</LastModified><ETag>&quot;{found.etag}&quot;</ETag><Size>{len(found.body)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def _page(vision: Vision, entries: Iterator[str], keys_max: int) -> Page:
    found: list[str] = []
    to_make: set[str] = set()
    for entry in entries:
        if not entry.endswith("/") and not vision.is_made(entry):
            to_make.add(entry.removesuffix(".CHECKSUM"))
        if len(found) == keys_max or len(to_make) > MADE_A_PAGE_MAX:
            return Page(found, True)
        found.append(entry)
    return Page(found, False)


def _walk(vision: Vision, folder: str, prefix: str, after: str, delimiter: str) -> Iterator[str]:
    """Keys with `prefix` that come after `after`, in order; with a delimiter the folders below it instead."""
    for name in vision.children(folder):
        key = folder + name
        if not (key.startswith(prefix) or prefix.startswith(key)):
            continue
        if not name.endswith("/"):
            if key > after:
                yield key
        elif after.startswith(key) or key > after:
            if delimiter and key.startswith(prefix) and key != prefix:
                if key > after:
                    yield key
            else:
                yield from _walk(vision, key, prefix, after, delimiter)


def _moment(time_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_ms // 1000, dt.UTC)


def _error(status: int, code: str, message: str, resource: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
    return Reply(f"{body}<Key>{escape(resource)}</Key></Error>".encode(), status, 0, _XML)
