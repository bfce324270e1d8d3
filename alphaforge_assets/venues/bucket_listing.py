"""What a bucket says that it holds: objects, and a page of a listing as S3 writes it."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.refusals import EVIDENCE_CHARS

_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True)
class Listed:
    """An object as the listing has it. `last_modified` is ISO."""

    key: str
    etag: str
    size: int
    last_modified: str


def listed(key: str, etag: str, size: str, last_modified: str) -> Listed:
    """An object of which the size was told as a text. Raises VenueUnavailable if that is no number of bytes."""
    if not (size.isascii() and size.isdigit()):
        raise VenueUnavailable(f"the listing says that {key[:200]} has {size[:50]!r} bytes")
    return Listed(key, etag, int(size), last_modified)


def parse_page(body: bytes) -> tuple[dict[str, Listed], list[str], str]:
    """Objects and folders of a page, and the token of the next one, empty if there is none. Raises VenueUnavailable."""
    text = body[:EVIDENCE_CHARS].decode("utf-8", "replace")
    if b"<!" in body[:1000]:
        raise VenueUnavailable("a listing with a document type: S3 sends none", text)
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - without a document type there are no entities
        page = {}
        for entry in root.iter(f"{_NAMESPACE}Contents"):
            key, etag, size, modified = (
                entry.findtext(f"{_NAMESPACE}{name}", "") for name in ("Key", "ETag", "Size", "LastModified")
            )
            page[key] = listed(key, etag.strip('"'), size, modified)
        if root.tag != f"{_NAMESPACE}ListBucketResult":
            raise ValueError(f"{root.tag} in place of a listing")
    except (ElementTree.ParseError, ValueError) as error:
        raise VenueUnavailable(f"a listing that is none ({error})", text) from error
    folders = [its.findtext(f"{_NAMESPACE}Prefix", "") for its in root.iter(f"{_NAMESPACE}CommonPrefixes")]
    if root.findtext(f"{_NAMESPACE}IsTruncated") != "true":
        return page, folders, ""
    return page, folders, root.findtext(f"{_NAMESPACE}NextContinuationToken", "")
