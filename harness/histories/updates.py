"""What must be left of concurrent `update_context` calls that each add one key of their own."""

from collections.abc import Collection, Iterable

from harness.histories.verdict import Violation


def check_updates(
    final: Collection[str],
    *,
    acknowledged: Iterable[str],
    unknown: Iterable[str] = (),
    failed: Iterable[str] = (),
) -> list[Violation]:
    """Return what is wrong with the final keys; an empty list if nothing is.

    Every acknowledged key is there, an unknown one may be, and nothing else is. A key whose update
    failed and was tried again counts by its best outcome.
    """
    sure, refused = dict.fromkeys(acknowledged), set(failed)
    possible = sure.keys() | set(unknown)
    lost = [
        Violation("lost", f"the update of {key} was acknowledged and is not there")
        for key in sure
        if key not in final
    ]
    invented = [
        Violation("invented", f"{key} is there, {_reason(key, refused)}")
        for key in final
        if key not in possible
    ]
    return lost + invented


def _reason(key: str, refused: set[str]) -> str:
    return "whose update failed" if key in refused else "which nobody wrote"
