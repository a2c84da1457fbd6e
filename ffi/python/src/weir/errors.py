"""What can go wrong: one class for each kind of result, all of them `weir.Error`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence, Type

from ._abi import Result, Severity


@dataclass(frozen=True)
class Diagnostic:
    """One finding in a config."""

    severity: Severity
    #: The name of the file, or what was given as `name`.
    file: str
    #: From 1; 0 if it has no place in the text.
    line: int
    #: From 1, in characters.
    column: int
    #: The field: `static_resources.clusters[0].name`.
    field: str
    #: What is wrong.
    message: str
    #: What would be right; empty if nobody knows.
    help: str = ""

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        help = f" ({self.help})" if self.help else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity.name.lower()}: {field}{self.message}{help}"


class Error(Exception):
    """A call of Weir's came to nothing."""

    #: The number of what happened: a `weir.Result`, or one that a newer library has.
    result: int = 0

    def __init__(self, message: str, result: int = 0) -> None:
        super().__init__(message)
        if result:
            self.result = result


class LibraryError(Error, ImportError):
    """libweir is not there, or is another one than this package is for."""


class ConfigError(Error, ValueError):
    """A config is refused. As text it is all that is wrong with it, a line each."""

    result = Result.CONFIG_REFUSED

    def __init__(self, message: str, diagnostics: Sequence[Diagnostic] = ()) -> None:
        super().__init__(message)
        #: All that was found, in the order of the file; warnings are among it.
        self.diagnostics: List[Diagnostic] = list(diagnostics)

    def __str__(self) -> str:
        return "\n".join(map(str, self.diagnostics)) or super().__str__()


class UsageError(Error, ValueError):
    """A call with something that it cannot be called with."""


class BusyError(Error, RuntimeError):
    """Another thread uses this object, which serves one at a time; or a callback used what calls it."""


class UnknownIdError(Error, LookupError):
    """A connection or query of an engine is gone: late news, which changed nothing."""


class NoListenerError(Error, LookupError):
    """There is no listener of that name."""


class NoStatError(Error, LookupError):
    """There is no stat of that name."""


class NotAcceptedError(Error):
    """An engine does not take a connection: close it."""


class StartError(Error, OSError):
    """The system is in the way: an address, a file, a name that does not resolve."""

    def __str__(self) -> str:
        return str(self.args[0])


class ListenError(StartError):
    """An address cannot be listened on."""


class ResolveError(StartError):
    """A name of the config does not resolve."""


class FileError(StartError):
    """A file or folder cannot be opened or made."""


class EndedError(Error):
    """The proxy has drained, failed or was stopped: it does nothing more."""


class DrainingError(EndedError):
    """The proxy drains: nothing new begins."""


class TimedOutError(Error, TimeoutError):
    """It takes longer than was to be waited. It goes on: ask again, or close it."""

    def __str__(self) -> str:
        return str(self.args[0])


class CallError(Error):
    """A call through a proxy has no whole answer."""


class CallResetError(CallError):
    """It was broken off: by the upstream, a deadline of the config, a drain's deadline, or a stop."""


class CallCancelledError(CallError):
    """It was cancelled."""


class CallRefusedError(CallError):
    """The listener takes no call now."""


class CallFinishedError(CallError):
    """Nobody takes more of the request's body: it was finished, or the response came first."""


class ReplayError(Error):
    """An input log cannot be lived through again."""


class BadLogError(ReplayError):
    """It is damaged, cut off, or one of another version."""


class DivergedError(ReplayError):
    """The replay decided something else than was recorded."""


class BugError(Error):
    """Weir has panicked: a bug of ours. Please report it."""


CLASSES: Dict[int, Type[Error]] = {
    Result.BUSY: BusyError,
    Result.OWN_THREAD: BusyError,
    Result.WRONG_ABI: LibraryError,
    Result.UNKNOWN_ID: UnknownIdError,
    Result.PANICKED: BugError,
    Result.FAILED: BugError,
    Result.NO_LISTENER: NoListenerError,
    Result.NO_STAT: NoStatError,
    Result.LISTENER_LIMIT: NotAcceptedError,
    Result.GLOBAL_LIMIT: NotAcceptedError,
    Result.NO_FILTER_CHAIN: NotAcceptedError,
    Result.BAD_LOG: BadLogError,
    Result.DIVERGED: DivergedError,
    Result.LISTEN_FAILED: ListenError,
    Result.RESOLVE_FAILED: ResolveError,
    Result.FILE_FAILED: FileError,
    Result.SYSTEM_FAILED: StartError,
    Result.ENDED: EndedError,
    Result.DRAINING: DrainingError,
    Result.TIMED_OUT: TimedOutError,
    Result.CALL_RESET: CallResetError,
    Result.CANCELLED: CallCancelledError,
    Result.CALL_REFUSED: CallRefusedError,
    Result.FINISHED: CallFinishedError,
}


def of_result(result: int, message: str, diagnostics: Sequence[Diagnostic] = ()) -> Error:
    """The exception for a result that is none of success."""
    if result == Result.CONFIG_REFUSED:
        return ConfigError(message, diagnostics)
    known = CLASSES.get(result, UsageError if 100 <= result < 200 else Error)
    return known(message, result)
