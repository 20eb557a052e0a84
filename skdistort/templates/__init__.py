"""Templates kept on disk: enrolled, verified, identified, revoked and renewed."""

from ._database import TemplateDatabase
from ._eight_bit import StorageErrorRates, storage_error_rates
from ._gallery import Gallery, Identification, Verification
from ._store import TemplateStore

__all__ = [
    "Gallery",
    "Identification",
    "StorageErrorRates",
    "TemplateDatabase",
    "TemplateStore",
    "Verification",
    "storage_error_rates",
]
