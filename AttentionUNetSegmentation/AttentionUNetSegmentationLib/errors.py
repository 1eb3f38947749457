"""What is told of an error."""

from __future__ import annotations

OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


def one_sentence(error: BaseException) -> str:
    """What an error says, in one line; the kind of error if it says nothing."""
    if isinstance(error, MemoryError) and not str(error):
        return "not enough memory"
    return " ".join(str(error).split()) or type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, on the computer or its GPU."""
    return isinstance(error, MemoryError) or any(phrase in str(error).lower() for phrase in OUT_OF_MEMORY)
