"""Breaking things on purpose, and mending them when the block ends."""

from harness.faults.pooling import TransactionPooling
from harness.faults.proxy import FaultProxy, address_of, addresses_of

__all__ = ["FaultProxy", "TransactionPooling", "address_of", "addresses_of"]
