"""What rows are known by: a hash of their values."""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc


def content_hash(rows: pa.Table) -> str:
    """SHA-256 of the values of a table, hexadecimal: independent of chunking, padding and library version."""
    digest = hashlib.sha256()
    for name in rows.column_names:
        column = rows[name].combine_chunks()
        digest.update(name.encode())
        digest.update(pc.is_null(column).to_numpy(zero_copy_only=False))
        if pa.types.is_string(column.type):
            digest.update(pc.fill_null(pc.binary_length(column), 0).to_numpy())
            whole = pa.ListArray.from_arrays([0, len(column)], pc.fill_null(column, ""))
            digest.update(pc.binary_join(whole, "")[0].as_buffer())
        elif pa.types.is_timestamp(column.type):
            digest.update(pc.fill_null(column.cast(pa.int64()), 0).to_numpy())
        else:
            nothing = False if pa.types.is_boolean(column.type) else 0
            digest.update(pc.fill_null(column, nothing).to_numpy(zero_copy_only=False))
    return digest.hexdigest()
