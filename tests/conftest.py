"""Settings that must stand before scikit-learn, matplotlib and Keras are imported, and a cheaper
garbage collection."""

import gc
import os

# Without it scikit-learn skips its array API check.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Graphs are made of so many objects that looking for those to collect takes a tenth of the time.
gc.set_threshold(50_000, 20, 20)
