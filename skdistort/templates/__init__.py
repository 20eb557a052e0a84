"""Templates and embeddings kept on disk: enrolled, verified, identified, revoked and renewed."""

from ._database import TemplateDatabase
from ._eight_bit import (
    RenewalErrorRates,
    StorageErrorRates,
    renewal_error_rates,
    storage_error_rates,
)
from ._embeddings import EmbeddingStore
from ._gallery import Gallery, Identification
from ._seals import Ledger
from ._store import TemplateStore

__all__ = [
    "EmbeddingStore",
    "Gallery",
    "Identification",
    "Ledger",
    "RenewalErrorRates",
    "StorageErrorRates",
    "TemplateDatabase",
    "TemplateStore",
    "renewal_error_rates",
    "storage_error_rates",
]
