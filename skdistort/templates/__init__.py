"""Templates kept on disk: enrolled, verified, identified, revoked and renewed."""

from ._database import TemplateDatabase
from ._eight_bit import StorageErrorRates, storage_error_rates
from ._gallery import Gallery, Identification
from ._store import TemplateStore

__all__ = [
    "Gallery",
    "Identification",
    "StorageErrorRates",
    "TemplateDatabase",
    "TemplateStore",
    "storage_error_rates",
]
