"""Errors as ClickHouse's HTTP interface reports them: a code, a status and one line of text. No engine here."""

import errno
import re

# HTTP status by ClickHouse error code, as ClickHouse's own `exceptionCodeToHTTPStatus` groups them.
# 503 is given for nothing: clickhouse-connect would repeat the request by itself.
_BAD_REQUEST = frozenset(
    (
        *(6, 26, 27, 36, 38, 41, 42, 43, 44, 53, 62, 69, 70, 72, 117, 125, 130, 131, 190, 321),
        *(354, 363, 372, 427, 450, 452, 457, 467, 469, 645),
    )
)
_NOT_FOUND = frozenset((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 511))
_STATUS = {
    48: 501,  # NOT_IMPLEMENTED
    158: 500,  # TOO_MANY_ROWS
    159: 408,  # TIMEOUT_EXCEEDED
    164: 403,  # READONLY
    192: 403,  # UNKNOWN_USER
    193: 403,  # WRONG_PASSWORD
    194: 401,  # REQUIRED_PASSWORD
    298: 413,  # QUERY_IS_TOO_LARGE
    307: 413,  # TOO_MANY_BYTES
    497: 403,  # ACCESS_DENIED
    516: 403,  # AUTHENTICATION_FAILED
}


class Fault(Exception):
    """What a client is told. `code` and `name` are ClickHouse's, `text` the whole line."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.text = f"Code: {code}. DB::Exception: {message}. ({name})"

    @property
    def status(self) -> int:
        if self.code in _STATUS:
            return _STATUS[self.code]
        return 404 if self.code in _NOT_FOUND else 400 if self.code in _BAD_REQUEST else 500


def fault_of(error: BaseException) -> Fault:
    """The fault that stands for any exception: the engine's own code where it gave one."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Fault(243, "NOT_ENOUGH_SPACE", f"cannot spool the request: {error.strerror}; free some disk space")
    text = str(error)
    found = re.search(r"Code: (\d+)\. ", text)
    if not found:
        return Fault(1002, "UNKNOWN_EXCEPTION", f"{type(error).__name__}: {text}")
    fault = Fault(int(found.group(1)), "", "")
    fault.text = text[found.start() :].strip()
    return fault


def refused(message: str) -> Fault:
    """A statement the engine would run, but that this server does not let a client run."""
    return Fault(497, "ACCESS_DENIED", f"{message}: refused by the embedded warehouse")


def syntax(message: str) -> Fault:
    return Fault(62, "SYNTAX_ERROR", f"Syntax error: {message}")
