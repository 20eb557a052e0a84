"""Templates kept on disk: enrolled, verified, identified, revoked and renewed."""

from ._eight_bit import StorageErrorRates, storage_error_rates
from ._gallery import Identification, Verification
from ._store import TemplateStore

__all__ = [
    "Identification",
    "StorageErrorRates",
    "TemplateStore",
    "Verification",
    "storage_error_rates",
]
