"""When the core does not place a model's tensors: the reason, and what stock needs to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..errors import WarploadError


class NotNativeError(Exception):
    """The core does not put this model together; stock does, for the reason given. Never reaches the user.

    Attributes:
        readable: whether stock's own code may still read the files through the core.
        fault: the error of the core's that is to be raised if stock cannot load the files either.
        built: a model without weights that stock is to go on with (``construction.Built``), or None.
        unexpected: whether nobody foresaw the reason, so that users should tell us.
        said: whether the log has told of the reason already, as it is the same for every model.
        quantised: whether a quantiser of the library's places the tensors: the files are planned all the same.
    """

    def __init__(
        self,
        reason: str,
        *,
        readable: bool = True,
        fault: WarploadError | None = None,
        unexpected: bool = False,
        said: bool = False,
        quantised: bool = False,
    ) -> None:
        super().__init__(reason)
        self.readable = readable
        self.fault = fault
        self.built: Any = None
        self.unexpected = unexpected
        self.said = said
        self.quantised = quantised

    def bare(self) -> NotNativeError:
        """Return the same without the frames that it came through: they may hold tensors in a device's memory."""
        fault = None if self.fault is None else self.fault.with_traceback(None)
        same = NotNativeError(
            str(self),
            readable=self.readable,
            fault=fault,
            unexpected=self.unexpected,
            said=self.said,
            quantised=self.quantised,
        )
        same.built = self.built
        return same


def check_own_loading(cls: type, base: type, names: tuple[str, ...]) -> None:
    """Refuse a class that brings its own version of one of the base's methods, as we don't know what it does.

    Raises:
        NotNativeError: it does; names the class and the method.
    """
    for name in names:
        own, known = getattr(cls, name), getattr(base, name)
        if getattr(own, "__func__", own) is not getattr(known, "__func__", known):
            raise NotNativeError(f"{cls.__name__} has its own {name}")


def some_of(names: set[str]) -> str:
    """Return a few of many names, for a reason."""
    shown = sorted(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
