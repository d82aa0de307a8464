"""Sealed at rest: one data key per tenant and purpose, wrapped under the master key; every cell bound to its place."""

from tenants.crypto.keyring import CellRef, Purpose
from tenants.crypto.master import MasterKeys
from tenants.crypto.vault import Vault

__all__ = ["CellRef", "MasterKeys", "Purpose", "Vault"]
