"""Breaking things on purpose, and mending them when the block ends."""

from harness.faults.proxy import FaultProxy, address_of

__all__ = ["FaultProxy", "address_of"]
