"""Estimators in files that are safe to load: nothing in them is ever executed."""

from ._save_load import PersistenceMixin, load, save

__all__ = ["PersistenceMixin", "load", "save"]
