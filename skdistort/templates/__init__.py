"""Templates kept on disk: enrolled, verified, identified, revoked and renewed."""

from ._eight_bit import StorageErrorRates, storage_error_rates
from ._gallery import Identification
from ._store import TemplateStore

__all__ = [
    "Identification",
    "StorageErrorRates",
    "TemplateStore",
    "storage_error_rates",
]
