"""Breaking things on purpose, and mending them when the block ends."""

from harness.faults.doors import address_of, addresses_of
from harness.faults.pooling import TransactionPooling
from harness.faults.proxy import FaultProxy

__all__ = ["FaultProxy", "TransactionPooling", "address_of", "addresses_of"]
